"""The store in one SQLite file: WAL, ``synchronous=FULL``, one transaction a batch."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec.structs import astuple

from edge_sdk.base.errors import StoreError
from edge_sdk.contract.envelope import VERSION
from edge_sdk.contract.receipt import Ranges, Receipt
from edge_sdk.monitor.store.base import Arrival, Batch, Committed, Limits, Refusal, Source
from edge_sdk.monitor.store.database import Database
from edge_sdk.monitor.store.pruning import prune
from edge_sdk.monitor.store.refusals import conflict, count, is_resend, quarantine
from edge_sdk.monitor.store.rollup import GROUPED, INTO_MINUTES, SLICE, merge, ripe, roll_late, roll_source
from edge_sdk.monitor.store.settling import settle
from edge_sdk.monitor.store.sqlite_file import SqliteFile
from edge_sdk.monitor.store.words import Words

RECEIPT_RANGES = 1000
"""A receipt names the lowest ranges; what is above waits until the gaps below have closed."""

_CONTENT = (sqlite3.DataError, sqlite3.IntegrityError, sqlite3.InterfaceError)  # not the medium's fault
_T = TypeVar("_T")
# In the order of the fields of `Arrival`.
_INSERT = (
    "INSERT INTO results (source, stored_ns, seq, stream, t_ns, observed_ns, label, confidence, value, unit, degraded,"
    " backlog, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_ROWS = 64
_INSERT_MANY = _INSERT + ", (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)" * (_ROWS - 1)


@dataclass(slots=True)
class _Known:
    """A source as the store remembers it between commits."""

    id: int
    station_id: int
    ranges: Ranges
    stored: int


class SqliteStore:
    """`Store` in one file; a second writer is refused.

    The ranges of each source live in memory too: a number that is not in them is surely new, so that only
    suspects are looked up. After a failed transaction everything in memory is read anew.
    """

    def __init__(self, path: Path | str) -> None:
        """Open or make the file.

        Raises:
            StoreError: It cannot be used; the message says why.
        """
        self._file = SqliteFile(Path(path))
        self._db = self._file.connection
        self._words = Words(self._db)
        self._sources: dict[Source, _Known] = {}
        self._lock = threading.Lock()
        self._rolled_source = 0
        self._ranges_decoder = msgspec.json.Decoder(tuple[tuple[int, int], ...])

    def commit(self, batch: Batch, *, now_ns: int) -> Committed:
        """Store the batch in one transaction; see `Store.commit`."""
        return self._in_transaction(lambda: self._write(batch, now_ns))

    def prune(self, limits: Limits, *, now_ns: int) -> int:
        """Delete a slice of what is old; see `Store.prune`."""
        return self._in_transaction(lambda: prune(self._db, limits, now_ns, _prune_results))

    def roll_up(self) -> int:
        """Bring minutes up to date for some sources; see `Store.roll_up`."""
        return self._in_transaction(self._roll)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()

    def _in_transaction(self, work: Callable[[], _T]) -> _T:
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                done = work()
                self._db.execute("COMMIT")
            except BaseException as error:
                self._sources.clear()
                self._words.forget()
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error) and not isinstance(error, _CONTENT):
                    raise StoreError(
                        f"Store {self._file.path} refuses to write: {error}. Is the disk full or failing?"
                    ) from error
                raise
            return done

    def _roll(self) -> int:
        """Goes round the sources, some in each call."""
        rolled = 0
        for source in ripe(self._db, self._rolled_source):
            rolled += roll_source(self._db, source, most=SLICE - rolled)
            self._rolled_source = source - 1  # it may have more
            if rolled >= SLICE:
                return rolled
        self._rolled_source = 0
        return rolled or settle(self._db)

    def _write(self, batch: Batch, now_ns: int) -> Committed:
        done = Committed()
        refusals = list(batch.refusals)
        self._words.start(now_ns)
        touched: dict[Source, _Known] = {}
        self._store_results(batch, now_ns, done, touched, refusals)
        for source, spans in batch.gone.items():
            for span in spans:
                touched[source].ranges.add(*span)
        for notice in batch.notices:
            claim = self._words.take(notice)
            if claim is not None:
                source, oldest = claim
                known = touched[source] = self._known(source)
                if oldest > 1:
                    known.ranges.add(1, oldest - 1)
        self._db.executemany(
            "UPDATE sources SET stored = ?, ranges = ?, settled = NULL WHERE id = ?",
            [(known.stored, msgspec.json.encode(known.ranges.ranges), known.id) for known in touched.values()],
        )
        self._words.finish()
        evicted = quarantine(self._db, refusals, now_ns)
        count(
            self._db,
            {
                "messages.received": batch.messages,
                "messages.quarantined": len(batch.refusals),
                "quarantine.evicted": evicted,
                "results.stored": sum(map(len, done.new.values())),
                "results.duplicates": done.duplicates,
                "results.conflicts": done.conflicts,
            },
        )
        for source, known in touched.items():
            stored = known.ranges.ranges[:RECEIPT_RANGES]
            done.receipts[source] = Receipt(v=VERSION, epoch=source.epoch, stored=stored)
            done.current[source] = self._words.current_epoch(source) == source.epoch
        return done

    def _store_results(
        self, batch: Batch, now_ns: int, done: Committed, touched: dict[Source, _Known], refusals: list[Refusal]
    ) -> None:
        rows: list[tuple[object, ...]] = []
        suspects: list[tuple[Source, _Known, Arrival]] = []
        for source, arrivals in batch.results.items():
            known = touched[source] = self._known(source)
            ranges, top, low = known.ranges, known.ranges.top, 0
            new = []
            for one in arrivals:
                seq = one.seq
                if seq == top + 1 and low:  # the next in line
                    top = seq
                elif seq > top:
                    if low:
                        ranges.add(low, top)
                    low = top = seq
                elif seq in ranges or 0 < low <= seq:
                    suspects.append((source, known, one))
                    continue
                else:
                    ranges.add(seq)
                new.append(one)
                rows.append((known.id, now_ns, *astuple(one)))
            if low:
                ranges.add(low, top)
            if new:
                done.new[source] = new
                known.stored += len(new)
            self._words.heard(source, known.station_id, known.id, new)
        self._insert(rows)
        for source, known, one in suspects:
            there = self._db.execute(
                "SELECT body FROM results WHERE source = ? AND seq = ?", (known.id, one.seq)
            ).fetchone()
            if there is None and self._was_pruned(known.id, one.seq):
                done.duplicates += 1
            elif there is None:  # given up by the station, and here it is after all
                self._db.execute(_INSERT, (known.id, now_ns, *astuple(one)))
                roll_late(self._db, known.id, one.seq)
                known.stored += 1
                done.new.setdefault(source, []).append(one)
                self._words.heard(source, known.station_id, known.id, [one])
            elif is_resend(one, there[0]):
                done.duplicates += 1
            else:
                done.conflicts += 1
                refusals.append(conflict(source, one))

    def _insert(self, rows: list[tuple[object, ...]]) -> None:
        """Many rows a statement: each statement lets go of the interpreter, and other threads take their time."""
        whole = len(rows) // _ROWS * _ROWS
        for at in range(0, whole, _ROWS):
            self._db.execute(_INSERT_MANY, tuple(chain.from_iterable(rows[at : at + _ROWS])))
        self._db.executemany(_INSERT, rows[whole:])

    def _was_pruned(self, source_id: int, seq: int) -> bool:
        [pruned] = self._db.execute("SELECT pruned FROM sources WHERE id = ?", (source_id,)).fetchone()
        return seq <= int(pruned)

    def _known(self, source: Source) -> _Known:
        known = self._sources.get(source)
        if known is None:
            station_id = self._words.station_id(source.site, source.station)
            self._db.execute("INSERT OR IGNORE INTO sources (station, epoch) VALUES (?, ?)", (station_id, source.epoch))
            number, stored, ranges = self._db.execute(
                "SELECT id, stored, ranges FROM sources WHERE station = ? AND epoch = ?", (station_id, source.epoch)
            ).fetchone()
            known = _Known(number, station_id, Ranges(self._ranges_decoder.decode(ranges)), stored)
            self._sources[source] = known
        return known


def _prune_results(db: Database, before_ns: int) -> int:
    """Delete the oldest results, stored before `before_ns`; what is in no minute yet is rolled into one first."""
    [last] = db.execute(
        "SELECT max(number) FROM (SELECT rowid AS number, stored_ns FROM results ORDER BY rowid LIMIT ?)"
        " WHERE stored_ns < ?",
        (SLICE, before_ns),
    ).fetchone()
    if last is None:
        return 0
    where = (last, before_ns)
    db.execute(
        f"{INTO_MINUTES} results WHERE rowid <= ? AND stored_ns < ?"
        f" AND seq > (SELECT rolled FROM sources WHERE id = source){GROUPED}{merge('minutes')}",
        where,
    )
    db.execute(
        "UPDATE sources SET pruned = max(pruned, old.seq), pruned_ns = max(pruned_ns, old.t_ns + 1) FROM"
        " (SELECT source, max(seq) AS seq, max(t_ns) AS t_ns FROM results WHERE rowid <= ? AND stored_ns < ?"
        "  GROUP BY source) AS old"
        " WHERE sources.id = old.source",
        where,
    )
    return db.execute("DELETE FROM results WHERE rowid <= ? AND stored_ns < ?", where).rowcount
