"""The store in a real TimescaleDB: hypertables, chunks, retention. Debian has none; `make timescaledb` fetches one."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from edge_sdk.base.clock import from_datetime
from edge_sdk.monitor.store.base import Limits
from edge_sdk.monitor.store.partitions import DAY_NS
from edge_sdk.monitor.store.postgres import PostgresStore
from edge_sdk.monitor.store.reader import StoreReader
from tests.monitor.store.test_postgres import GATE, take
from tests.monitor.talk import START

HOME = Path(__file__).parents[3] / "build" / "timescaledb"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (HOME / "node_modules").is_dir() or shutil.which("node") is None,
        reason="TimescaleDB is not here: make timescaledb",
    ),
]


@pytest.fixture
def url() -> Iterator[str]:
    """A new database that has the extension."""
    command = ["node", str(Path(__file__).with_name("timescaledb.mjs")), str(HOME)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            yield f"postgresql://postgres:password@127.0.0.1:{port}/postgres?sslmode=disable"
        finally:
            process.terminate()


def chunks(url: str) -> int:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT count(*) FROM timescaledb_information.chunks").fetchone()
    return 0 if found is None else int(found[0])


def test_results_lie_in_a_hypertable_and_each_is_stored_once(url: str) -> None:
    store = PostgresStore(url)
    assert take(store, GATE.pack(range(1, 101))) == 100
    assert take(store, GATE.pack(range(50, 151))) == 50
    store.close()

    store = PostgresStore(url)  # as after a restart
    assert take(store, GATE.pack(range(1, 152))) == 1
    while store.roll_up():
        pass
    store.close()

    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT hypertable_name FROM timescaledb_information.hypertables").fetchall()
    assert tables == [("results",)]
    with StoreReader(url) as reader:
        assert [one.seq for one in reader.results()] == list(range(1, 152))
        assert reader.counters().missing == 0


def test_each_day_has_a_chunk_and_old_ones_go_at_once(url: str) -> None:
    store = PostgresStore(url)
    morning_ns = from_datetime(START)
    for day in range(3):
        first = 1 + day * DAY_NS // 10**9
        assert take(store, GATE.pack(range(first, first + 50)), now_ns=morning_ns + day * DAY_NS) == 50
    store.close()
    assert chunks(url) == 3

    store = PostgresStore(url)
    now_ns = morning_ns + 3 * DAY_NS - 1  # the first two days were stored more than a day ago
    pruned = [store.prune(Limits(results_days=1), now_ns=now_ns) for _ in range(3)]
    assert pruned == [50, 50, 0]
    assert take(store, GATE.pack(range(1, 51)), now_ns=now_ns) == 0  # it stays deleted
    assert store.prune(Limits(results_days=1), now_ns=now_ns) == 0
    store.close()

    assert chunks(url) == 1
    with StoreReader(url) as reader:
        assert len(list(reader.results())) == 50
