"""The store in PostgreSQL: COPY into a staging table, then upsert; any number of monitors may write at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from edge_sdk.base.errors import StoreError
from edge_sdk.contract.envelope import VERSION
from edge_sdk.contract.events import Birth
from edge_sdk.contract.receipt import Ranges, Receipt
from edge_sdk.monitor.store.base import Arrival, Batch, Committed, Limits, Refusal, Source
from edge_sdk.monitor.store.database import HEAD
from edge_sdk.monitor.store.partitions import Partitions
from edge_sdk.monitor.store.postgres_prune import prune_results
from edge_sdk.monitor.store.postgres_words import PostgresWords
from edge_sdk.monitor.store.pruning import prune
from edge_sdk.monitor.store.psycopg import PostgresConnection, upgrade, version_of
from edge_sdk.monitor.store.refusals import conflict, count, is_resend, quarantine
from edge_sdk.monitor.store.rollup import SLICE, ripe, roll_late, roll_source
from edge_sdk.monitor.store.settling import settle
from edge_sdk.monitor.store.sqlite import RECEIPT_RANGES

LABEL_LENGTH = 200
"""Charts know labels by so many characters; the stored result has all of it."""

_RANGES = msgspec.json.Decoder(tuple[tuple[int, int], ...])
_T = TypeVar("_T")
_COLUMNS = "source, stored_ns, seq, stream, t_ns, observed_ns, label, confidence, value, unit, degraded, backlog, body"
_TYPES = (
    "int8", "int8", "int8", "text", "int8", "int8", "text", "float8", "float8", "text", "bool", "bool", "bytea",
)  # fmt: skip
_STAGING = f"CREATE TEMP TABLE IF NOT EXISTS staging ON COMMIT DELETE ROWS AS SELECT {_COLUMNS} FROM results LIMIT 0"
_UPSERT = (
    f"INSERT INTO results ({_COLUMNS}) SELECT {_COLUMNS} FROM staging ORDER BY source, seq"
    " ON CONFLICT DO NOTHING RETURNING source, seq"
)


@dataclass(slots=True)
class _Touched:
    """A source within one transaction."""

    source: Source
    id: int
    station_id: int
    stored: int = 0
    ranges: Ranges = field(default_factory=Ranges)
    pruned: int = 0
    arrivals: dict[int, Arrival] = field(default_factory=dict)
    oldest: int = 1


class PostgresStore:
    """`Store` in PostgreSQL 13 or newer.

    The ranges of a source are read and changed under a lock on its row, taken after the results were written: so
    that workers write results side by side, and only the short end of a transaction waits for another.
    """

    def __init__(self, url: str) -> None:
        """Open the database and bring its schema up to date.

        Raises:
            StoreError: It cannot be reached, or is of a newer version.
        """
        self._db = PostgresConnection(url)
        self._lock = threading.Lock()
        version = version_of(self._db)
        if version > HEAD:
            raise StoreError(f"{self._db.where} has schema version {version}, this monitor knows {HEAD}. Update it.")
        if version < HEAD:
            upgrade(self._db)
        self._partitions = Partitions(self._db)
        self._words = PostgresWords(self._db)
        self._sources: dict[Source, tuple[int, int]] = {}
        self._rolled_source = 0

    def commit(self, batch: Batch, *, now_ns: int) -> Committed:
        """Store the batch in one transaction; see `Store.commit`."""
        with self._lock:
            times_ns = (one.t_ns for new in batch.results.values() for one in new)
            if missing := self._partitions.missing(times_ns, now_ns=now_ns):
                self._transaction(lambda: self._partitions.make(missing))
            self._register(batch, now_ns)
            return self._transaction(lambda: self._write(batch, now_ns))

    def prune(self, limits: Limits, *, now_ns: int) -> int:
        """Delete a slice of what is old; see `Store.prune`."""
        with self._lock:
            return self._transaction(
                lambda: prune(self._db, limits, now_ns, lambda db, before: prune_results(db, self._partitions, before))
            )

    def roll_up(self) -> int:
        """Bring minutes up to date for some sources; see `Store.roll_up`."""
        with self._lock:
            return self._transaction(self._roll)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._db.close()

    def _transaction(self, work: Callable[[], _T]) -> _T:
        self._db.execute("BEGIN")
        try:
            done = work()
            self._db.execute("COMMIT")
        except BaseException:
            self._db.rollback()
            self._sources.clear()
            self._partitions.forget()
            raise
        return done

    def _register(self, batch: Batch, now_ns: int) -> None:
        """Rows of stations and sources that are new, one by one and in one order for all workers."""
        births = {Source(one.site, one.station, one.what.epoch) for one in batch.notices if isinstance(one.what, Birth)}
        stations = {(source.site, source.station) for source in batch.results}
        stations |= {(notice.site, notice.station) for notice in batch.notices}
        self._words.register(stations, now_ns)
        for source in sorted((batch.results.keys() | births) - self._sources.keys()):
            self._known(source)

    def _known(self, source: Source) -> tuple[int, int]:
        known = self._sources.get(source)
        if known is None:
            where = (self._words.station_id(source.site, source.station), source.epoch)
            self._db.execute("INSERT INTO sources (station, epoch) VALUES (?, ?) ON CONFLICT DO NOTHING", where)
            [number] = self._db.execute("SELECT id FROM sources WHERE station = ? AND epoch = ?", where).fetchone()
            known = self._sources[source] = (number, where[0])
        return known

    def _write(self, batch: Batch, now_ns: int) -> Committed:
        db, words, done = self._db, self._words, Committed()
        refusals = list(batch.refusals)
        touched: dict[int, _Touched] = {}
        inserted = self._insert(batch, now_ns, touched, done, refusals)
        words.start(now_ns)
        words.lock({one.station_id for one in touched.values()}, batch.notices)
        for notice in batch.notices:
            claim = words.take(notice)
            if claim is not None:
                known = self._touch(claim[0], touched)
                known.oldest = max(known.oldest, claim[1])
        self._read_ranges(touched)
        for known in touched.values():
            self._settle(known, inserted.get(known.id, []), done, refusals)
            words.heard(known.source, known.station_id, known.id, done.new.get(known.source, []))
            for span in batch.gone.get(known.source, ()):
                known.ranges.add(*span)
            if known.oldest > 1:
                known.ranges.add(1, known.oldest - 1)
        changed = [(known.id, known.stored, msgspec.json.encode(known.ranges.ranges)) for known in touched.values()]
        db.execute(
            "UPDATE sources SET stored = given.stored, ranges = given.ranges, settled = NULL FROM"
            " unnest(CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS bytea[])) AS given (id, stored, ranges)"
            " WHERE sources.id = given.id",
            [list(column) for column in zip(*changed, strict=True)] if changed else [[], [], []],
        )
        words.finish()
        evicted = quarantine(db, refusals, now_ns)
        count(
            db,
            {
                "messages.received": batch.messages,
                "messages.quarantined": len(batch.refusals),
                "quarantine.evicted": evicted,
                "results.stored": sum(map(len, done.new.values())),
                "results.duplicates": done.duplicates,
                "results.conflicts": done.conflicts,
            },
        )
        for known in touched.values():
            stored = known.ranges.ranges[:RECEIPT_RANGES]
            done.receipts[known.source] = Receipt(v=VERSION, epoch=known.source.epoch, stored=stored)
            done.current[known.source] = words.current_epoch(known.source) == known.source.epoch
        return done

    def _touch(self, source: Source, touched: dict[int, _Touched]) -> _Touched:
        number, station = self._known(source)
        return touched.setdefault(number, _Touched(source, number, station))

    def _insert(
        self, batch: Batch, now_ns: int, touched: dict[int, _Touched], done: Committed, refusals: list[Refusal]
    ) -> dict[int, list[int]]:
        """Write what is not there; gives the numbers that were not, by source."""
        rows = []
        for source, arrivals in batch.results.items():
            known = self._touch(source, touched)
            for one in arrivals:
                there = known.arrivals.setdefault(one.seq, one)
                if there is one:
                    label = one.label[:LABEL_LENGTH] if one.label else one.label
                    rows.append(
                        (known.id, now_ns, one.seq, one.stream, one.t_ns, one.observed_ns, label, one.confidence,
                         one.value, one.unit, one.degraded, one.backlog, one.body)
                    )  # fmt: skip
                else:
                    self._again(source, one, there.body, done, refusals)
        if not rows:
            return {}
        self._db.execute(_STAGING)
        self._db.copy(f"COPY staging ({_COLUMNS}) FROM STDIN (FORMAT BINARY)", _TYPES, rows)
        inserted: dict[int, list[int]] = {}
        new = self._db.execute(_UPSERT).fetchall()
        for number, seq in new:
            inserted.setdefault(number, []).append(seq)
        if len(new) < len(rows):
            for number, seq, body in self._db.execute(
                "SELECT source, seq, there.body FROM staging JOIN results AS there USING (source, seq, t_ns)"
                " WHERE (source, seq) NOT IN (SELECT * FROM unnest(CAST(? AS bigint[]), CAST(? AS bigint[])))",
                ([number for number, _ in new], [seq for _, seq in new]),
            ).fetchall():
                known = touched[number]
                self._again(known.source, known.arrivals[seq], bytes(body), done, refusals)
        return inserted

    def _again(self, source: Source, one: Arrival, there: bytes, done: Committed, refusals: list[Refusal]) -> None:
        if is_resend(one, there):
            done.duplicates += 1
        else:
            done.conflicts += 1
            refusals.append(conflict(source, one))

    def _read_ranges(self, touched: dict[int, _Touched]) -> None:
        """Lock the sources, in one order for all workers, and read how far they are."""
        for number, stored, ranges, pruned in self._db.execute(
            "SELECT id, stored, ranges, pruned FROM sources WHERE id = ANY (CAST(? AS bigint[]))"
            " ORDER BY id FOR NO KEY UPDATE",
            (sorted(touched),),
        ).fetchall():
            known = touched[number]
            known.stored, known.ranges, known.pruned = stored, Ranges(_RANGES.decode(ranges)), pruned

    def _settle(self, known: _Touched, inserted: list[int], done: Committed, refusals: list[Refusal]) -> None:
        """What was written is new if its number is not taken: another worker, or retention, may know it."""
        new = []
        for seq in sorted(inserted):
            one = known.arrivals[seq]
            if seq not in known.ranges or not self._is_taken(known, one, done, refusals):
                known.ranges.add(seq)
                new.append(one)
        if new:
            known.stored += len(new)
            done.new[known.source] = new

    def _is_taken(self, known: _Touched, one: Arrival, done: Committed, refusals: list[Refusal]) -> bool:
        there = self._db.execute(
            "SELECT body FROM results WHERE source = ? AND seq = ? AND t_ns <> ?", (known.id, one.seq, one.t_ns)
        ).fetchone()
        if there is None and one.seq > known.pruned:  # given up by the station, and here it is after all
            roll_late(self._db, known.id, one.seq)
            return False
        self._db.execute("DELETE FROM results WHERE source = ? AND seq = ? AND t_ns = ?", (known.id, one.seq, one.t_ns))
        self._again(known.source, one, one.body if there is None else bytes(there[0]), done, refusals)
        return True

    def _roll(self) -> int:
        """Goes round the sources, some in each call."""
        rolled = 0
        for source in ripe(self._db, self._rolled_source):
            rolled += roll_source(self._db, source, most=SLICE - rolled, locking=" FOR NO KEY UPDATE")
            self._rolled_source = source - 1  # it may have more
            if rolled >= SLICE:
                return rolled
        self._rolled_source = 0
        return rolled or settle(self._db, locking=" FOR NO KEY UPDATE")


def open_reader(url: str) -> PostgresConnection:
    """A connection that can only read.

    Raises:
        StoreError: The database cannot be reached, or holds no store that this reader knows.
    """
    connection = PostgresConnection(url, read_only=True)
    version = version_of(connection)
    if version != HEAD:
        connection.close()
        if not version:
            raise StoreError(
                f"There is no store at {connection.where}. `edge-sdk monitor run` with that URL makes one."
            )
        raise StoreError(f"{connection.where} has schema version {version}, this reader knows {HEAD}. Use its monitor.")
    return connection
