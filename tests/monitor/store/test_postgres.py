"""What only the store in PostgreSQL has to do: several writers, partitions, a server that goes away."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from edge_sdk.base.errors import StoreError
from edge_sdk.contract.events import Severity
from edge_sdk.contract.topics import Kind
from edge_sdk.monitor.store.base import Limits
from edge_sdk.monitor.store.partitions import AHEAD_DAYS, DAY_NS, name_of
from edge_sdk.monitor.store.postgres import PostgresStore
from edge_sdk.monitor.store.reader import StoreReader
from edge_sdk.monitor.verify import verify_all
from edge_sdk.mqtt.transport import Message
from tests.databases import RunningPostgres
from tests.monitor.talk import Talker

NewDatabase = Callable[[], str]
GATE = Talker()
NOW_NS = 1_795_000_000_000_000_000


def take(store: PostgresStore, *messages: Message, now_ns: int = NOW_NS) -> int:
    committed = store.commit(verify_all(messages, max_payload_bytes=1 << 20), now_ns=now_ns)
    return sum(map(len, committed.new.values()))


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT relname FROM pg_class WHERE relname LIKE 'results_2%' AND relkind = 'r'")
        return {row[0] for row in rows}


def test_days_have_a_partition_before_their_results_come(new_database: NewDatabase) -> None:
    url = new_database()
    store = PostgresStore(url)
    take(store, GATE.result(1))
    store.close()

    today = NOW_NS // DAY_NS
    assert {name_of(day) for day in range(today, today + AHEAD_DAYS + 1)} <= tables(url)


def test_a_time_that_no_clock_should_say_is_stored_all_the_same(new_database: NewDatabase) -> None:
    url = new_database()
    store = PostgresStore(url)

    assert take(store, GATE.result(1), now_ns=NOW_NS + 4000 * DAY_NS) == 1
    assert take(store, GATE.result(2)) == 1  # its day gets a partition now, and the first moves there
    store.close()

    with StoreReader(url) as reader:
        assert [one.seq for one in reader.results()] == [1, 2]


def test_old_days_go_at_once(new_database: NewDatabase) -> None:
    url = new_database()
    store = PostgresStore(url)
    take(store, GATE.pack(range(1, 101)))
    before = tables(url)

    assert store.prune(Limits(results_days=1), now_ns=NOW_NS + 60 * DAY_NS) == 100

    store.close()
    assert len(tables(url)) < len(before)


def test_where_timescale_is_said_to_be_one_table_takes_all_and_is_pruned(postgres_server: RunningPostgres) -> None:
    """Debian has no package of it: a stand-in is asked for a hypertable, as its documentation says it wants to be."""
    url = postgres_server.new_database()
    with psycopg.connect(url) as connection:
        connection.execute("SET allow_system_table_mods = on")
        connection.execute(
            "INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)"
            " SELECT 99999, 'timescaledb', 10, oid, false, '2.17.2' FROM pg_namespace WHERE nspname = 'public'"
        )
        connection.execute("CREATE TABLE asked (relation text, field name, chunk bigint)")
        connection.execute(
            "CREATE FUNCTION create_hypertable(relation regclass, time_column_name name,"
            " chunk_time_interval anyelement DEFAULT NULL::bigint) RETURNS void LANGUAGE sql AS"
            " $$ INSERT INTO asked VALUES (relation::text, time_column_name, chunk_time_interval) $$"
        )
    store = PostgresStore(url)
    assert take(store, GATE.pack(range(1, 101))) == 100
    assert take(store, GATE.pack(range(50, 151))) == 50
    assert store.prune(Limits(results_days=1), now_ns=NOW_NS + 60 * DAY_NS) == 150
    assert take(store, GATE.pack(range(1, 151))) == 0
    store.close()

    assert tables(url) == set()
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT * FROM asked").fetchall() == [("results", "t_ns", DAY_NS)]


def test_text_that_postgres_cannot_hold_loses_nothing(new_database: NewDatabase) -> None:
    url = new_database()
    store = PostgresStore(url)

    stored = take(
        store,
        GATE.result(1, label="a\0b"),
        GATE.result(2, label="x" * 5000),
        GATE.event("odd\0name" + "y" * 5000),
        Message(GATE.topic(Kind.EVENT, Severity.INFO.value), b"\0not json"),
    )
    store.close()

    assert stored == 2
    with StoreReader(url) as reader:
        assert [one.result.label for one in reader.results()] == ["a\0b", "x" * 5000]
        assert len(reader.events()) == 1
        assert reader.counters().quarantined == 1


def test_several_writers_at_once_store_each_result_once_and_receipts_hold_it(new_database: NewDatabase) -> None:
    url = new_database()
    talkers = [Talker(station=f"s{number}", epoch=f"9f3c00000000aa{number:02}") for number in range(6)]
    rng = random.Random(7)
    messages = [talker.pack(range(low, low + 20)) for talker in talkers for low in range(1, 401, 20)]
    messages += [talker.result(seq) for talker in talkers for seq in range(1, 401, 7)]  # each also comes again
    messages += [message for talker in talkers for message in (talker.birth(), talker.health(), talker.status())]
    rng.shuffle(messages)

    def write(mine: list[Message]) -> int:
        store, new = PostgresStore(url), 0
        for start in range(0, len(mine), 15):
            new += take(store, *mine[start : start + 15])
            store.roll_up()
        store.close()
        return new

    with ThreadPoolExecutor(4) as pool:
        new = sum(pool.map(write, (messages[number::4] for number in range(4))))

    assert new == 6 * 400
    with StoreReader(url) as reader:
        assert len(list(reader.results())) == 2400
        assert reader.counters().results == 2400
        assert reader.counters().missing == 0
        detail = reader.station("north", "s3", now_ns=NOW_NS)
    assert detail is not None
    assert [(one.stored, one.highest) for one in detail.sources] == [(400, 400)]


def test_a_reader_that_asks_for_changes_misses_none_of_a_slow_writer(new_database: NewDatabase) -> None:
    url = new_database()
    quick, slow = PostgresStore(url), Talker(station="slow")
    take(quick, GATE.result(1), slow.result(1))
    with StoreReader(url) as reader, psycopg.connect(url) as other:
        other.execute("UPDATE stations SET rev = pg_current_xact_id()::text::bigint WHERE station = 'slow'")
        take(quick, GATE.result(2))
        rev = reader.fleet(now_ns=NOW_NS).rev
        other.commit()

        changed = [one.station for one in reader.fleet(now_ns=NOW_NS, since_rev=rev).stations]
    quick.close()
    assert "slow" in changed


def test_a_writer_and_a_reader_go_on_after_their_connections_were_cut(
    new_database: NewDatabase, postgres_server: RunningPostgres
) -> None:
    url = new_database()
    store = PostgresStore(url)
    take(store, GATE.result(1))
    with StoreReader(url) as reader:
        assert len(list(reader.results())) == 1
        with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'edge-monitor'"
            )

        with pytest.raises(StoreError, match="PostgreSQL at"):
            take(store, GATE.result(2))
        assert take(store, GATE.result(2)) == 1
        with pytest.raises(StoreError):
            list(reader.results())
        assert len(list(reader.results())) == 2
    store.close()


def test_a_database_that_cannot_be_reached_is_named_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="PostgreSQL at postgresql://edge@") as caught:
        PostgresStore(f"postgresql://edge:secret@/edge?host={tmp_path}")

    assert "secret" not in str(caught.value)


def test_reading_a_database_without_a_store_says_how_to_make_one(postgres_server: RunningPostgres) -> None:
    with pytest.raises(StoreError, match="monitor run"):
        StoreReader(postgres_server.new_database())
