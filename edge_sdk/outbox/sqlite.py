"""The outbox on disk: one SQLite file in WAL mode, one fsync per group of results."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import IO, Literal

from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import ConfigError, OutboxError, OutboxFullError
from edge_sdk.base.ids import new_epoch
from edge_sdk.contract.envelope import OutboxRow, encode_body
from edge_sdk.contract.receipt import Ranges, Receipt
from edge_sdk.contract.result import FusedResult
from edge_sdk.outbox.base import OutboxStats

SCHEMA_VERSION = 1
DEFAULT_QUOTA_BYTES = 256 * 1024 * 1024

_PAGE_BYTES = 4096
_SMALLEST_QUOTA_BYTES = 32 * _PAGE_BYTES
_WAL_PAGES = 256  # 1 MiB: the log stays small, so that a full disk is met early and the file's size is bounded
_SPARE_PAGES = 8  # for the tree above the rows
_FORGET_AT_ONCE = 10_000

_SCHEMA = """
CREATE TABLE results (
    seq         INTEGER PRIMARY KEY,
    stream      TEXT NOT NULL,
    accepted_ns INTEGER NOT NULL,
    body        BLOB NOT NULL
);
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
"""
_INSERT = "INSERT INTO results (seq, stream, accepted_ns, body) VALUES (?, ?, ?, ?)"
_READ = "SELECT seq, stream, body, accepted_ns FROM results WHERE seq BETWEEN ? AND ? ORDER BY seq LIMIT ?"
_FORGET = "DELETE FROM results WHERE seq BETWEEN ? AND ?"
_OLDEST = "SELECT seq, length(body) + length(stream) FROM results ORDER BY seq LIMIT ?"
_ENDS = "SELECT (SELECT min(seq) FROM results), (SELECT max(seq) FROM results)"
_SET = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"

OnFull = Literal["drop_oldest", "refuse"]
Synchronous = Literal["FULL", "NORMAL"]


class SqliteOutbox:
    """Accepted results in a file; see `Outbox` for the promises. Made by `open`.

    Which rows are held is known in memory as ranges, so that receipts, statistics and the choice of what to send
    touch no disk. A second connection reads while the first waits for the medium.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        quota_bytes: int,
        on_full: OnFull,
        synchronous: Synchronous,
    ) -> None:
        self.path = path
        self.quota_bytes = quota_bytes
        self._clock = clock
        self._on_full = on_full
        self._max_pages = quota_bytes // _PAGE_BYTES
        self._writing = threading.Lock()  # guards the writing connection
        self._reading = threading.Lock()  # guards the reading connection
        self._knowing = threading.Lock()  # guards the ranges and numbers below; never held during I/O
        self._held = Ranges()
        self._forgotten = Ranges()  # acknowledged, and still in the file
        self._newest = 0
        self._dropped = 0
        with ExitStack() as opening:
            opening.enter_context(_lock(path))
            try:
                self._writer = opening.enter_context(closing(_connect(path, synchronous)))
                self._reader = opening.enter_context(closing(_connect(path, synchronous)))
                self.epoch = self._prepare()
            except sqlite3.Error as error:
                raise OutboxError(f"Outbox {path} cannot be opened: {error}.") from error
            self._opened = opening.pop_all()

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        clock: Clock,
        quota_bytes: int = DEFAULT_QUOTA_BYTES,
        on_full: OnFull = "drop_oldest",
        synchronous: Synchronous = "FULL",
    ) -> SqliteOutbox:
        """Open the file, or make it with a new epoch.

        Args:
            path: The file; its directory is made when missing.
            clock: Where the time of acceptance comes from.
            quota_bytes: What the file may grow to; its log takes about 1 MiB more.
            on_full: Give up the oldest results, counted, or refuse new ones.
            synchronous: NORMAL saves the fsync of each group, and a power cut then loses accepted results.

        Raises:
            OutboxError: It cannot be opened, or another process has it open.
            ConfigError: The quota is too small.
        """
        path = Path(path)
        if quota_bytes < _SMALLEST_QUOTA_BYTES:
            raise ConfigError(f"quota_bytes is {quota_bytes}; wanted are at least {_SMALLEST_QUOTA_BYTES}.")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutboxError(f"Directory {path.parent} for the outbox cannot be made: {error}.") from error
        return cls(path, clock=clock, quota_bytes=quota_bytes, on_full=on_full, synchronous=synchronous)

    def put(self, results: Sequence[FusedResult]) -> Sequence[OutboxRow]:
        """Number the results and store them in one commit; return when that is on the medium.

        Raises:
            OutboxFullError: The quota is reached and its policy is to refuse; none of them was stored.
            OutboxError: The medium refuses to write; none of them was stored.
        """
        if not results:
            return ()
        encoded = [(result.stream, encode_body(result)) for result in results]
        with self._writing:
            now_ns = self._clock.wall_ns()
            rows = [
                OutboxRow(seq, stream, body, now_ns)
                for seq, (stream, body) in enumerate(encoded, start=self._newest + 1)
            ]
            with self._transaction():
                forgotten = self._forget_some()
                dropped = self._make_room(rows)
                self._writer.executemany(_INSERT, [(row.seq, row.stream, now_ns, row.body) for row in rows])
            with self._knowing:
                self._newest = rows[-1].seq
                for low, high in forgotten:
                    self._forgotten.take(low, high)
                if dropped:
                    low, high, count = dropped
                    self._held.take(low, high)
                    self._forgotten.take(low, high)
                    self._dropped += count
                self._held.add(rows[0].seq, rows[-1].seq)
        return rows

    def read(self, *, after: int, limit: int, before: int | None = None) -> Sequence[OutboxRow]:
        """Rows with ``after < seq`` (and ``seq < before``), oldest first, at most `limit`."""
        with self._knowing:
            spans = self._held.overlap(after + 1, self._newest if before is None else before - 1)
        rows: list[OutboxRow] = []
        for low, high in spans:
            with self._reading:
                try:
                    found = self._reader.execute(_READ, (low, high, limit - len(rows))).fetchall()
                except sqlite3.Error as error:
                    raise OutboxError(f"Outbox {self.path} cannot be read: {error}.") from error
            rows.extend(map(OutboxRow._make, found))
            self._learn_gaps(low, found[-1][0] if len(rows) >= limit else high, [row[0] for row in found])
            if len(rows) >= limit:
                break
        return rows

    def acknowledge(self, receipt: Receipt) -> int:
        """Forget the rows that a receipt of this epoch names; returns how many. Other epochs change nothing."""
        if receipt.epoch != self.epoch:
            return 0
        return sum(self.acknowledge_sent(low, high) for low, high in receipt.stored)

    def acknowledge_sent(self, low: int, high: int) -> int:
        """Forget ``low … high`` on the broker's word alone (``delivery: broker``); returns how many."""
        with self._knowing:
            taken = self._held.take(low, high)
            for span in taken:
                self._forgotten.add(*span)
        return sum(high - low + 1 for low, high in taken)

    def stats(self) -> OutboxStats:
        """Numbers, cheap enough for every health message."""
        with self._knowing:
            return OutboxStats(
                rows=len(self._held),
                file_bytes=_size(self.path) + _size(self.path.with_name(self.path.name + "-wal")),
                quota_bytes=self.quota_bytes,
                oldest=self._held.first or self._newest + 1,
                newest=self._newest,
                dropped=self._dropped,
            )

    def close(self) -> None:
        """Close the file; what was put stays."""
        with self._writing, self._reading, self._opened, self._transaction():
            self._writer.execute(_SET, ("newest", self._newest))
            for low, high in self._forgotten.ranges:
                self._writer.execute(_FORGET, (low, high))

    # ---- within a write

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            yield
            self._writer.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            if _is_full(error):
                raise OutboxFullError(
                    f"Outbox {self.path}: {error}. Free space on that disk, or lower quota_bytes below what is free."
                ) from error
            raise OutboxError(f"Outbox {self.path} cannot be written: {error}.") from error
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")

    def _forget_some(self) -> list[tuple[int, int]]:
        """Delete what was acknowledged, but not so much at once that a put takes long."""
        room = _FORGET_AT_ONCE
        deleted = []
        with self._knowing:
            spans = self._forgotten.ranges
        for low, high in spans:
            high = min(high, low + room - 1)
            self._writer.execute(_FORGET, (low, high))
            deleted.append((low, high))
            room -= high - low + 1
            if room <= 0:
                break
        return deleted

    def _make_room(self, rows: Sequence[OutboxRow]) -> tuple[int, int, int] | None:
        """See that the rows fit the quota; give up the oldest when that is the policy: ``(low, high, count)``."""
        wanted = sum(_bytes_of(row) for row in rows) + _SPARE_PAGES * _PAGE_BYTES
        missing = wanted - self._free_bytes()
        if missing <= 0:
            return None
        if self._on_full == "refuse" or wanted > self.quota_bytes // 2:
            raise OutboxFullError(
                f"Outbox {self.path} has reached its quota of {self.quota_bytes} bytes. Raise quota_bytes, or set"
                " on_full to drop_oldest."
            )
        low = high = count = 0
        missing += self.quota_bytes // 100  # some more, so that not every put has to do it
        while missing > 0:
            oldest = self._writer.execute(_OLDEST, (1000,)).fetchall()
            if not oldest:
                break
            freed = 0
            for seq, size in oldest:
                low, high, count = low or seq, seq, count + (seq not in self._forgotten)
                freed += size
                if freed >= missing + _PAGE_BYTES:
                    break
            self._writer.execute(_FORGET, (low, high))
            missing -= freed
        self._writer.execute(_SET, ("dropped", self._dropped + count))
        return low, high, count

    def _free_bytes(self) -> int:
        [pages] = self._writer.execute("PRAGMA page_count").fetchone()
        [free] = self._writer.execute("PRAGMA freelist_count").fetchone()
        return int((self._max_pages - pages + free) * _PAGE_BYTES)

    # ---- at opening

    def _prepare(self) -> str:
        version = self._writer.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise OutboxError(
                f"Outbox {self.path} has schema version {version}, this software knows {SCHEMA_VERSION}. Update it."
            )
        if version == 0:
            with self._transaction():
                for statement in _SCHEMA.split(";")[:-1]:
                    self._writer.execute(statement)
                self._writer.execute(_SET, ("epoch", new_epoch()))
                self._writer.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            _sync_directory(self.path.parent)
        self._writer.execute(f"PRAGMA max_page_count = {self._max_pages}")
        meta = dict(self._writer.execute("SELECT key, value FROM meta").fetchall())
        low, high = self._writer.execute(_ENDS).fetchone()
        self._newest = max(high or 0, meta.get("newest", 0))
        self._dropped = meta.get("dropped", 0)
        if low is not None:
            self._held.add(low, high)  # gaps in between are learnt when they are read
        return str(meta["epoch"])

    def _learn_gaps(self, low: int, high: int, present: Sequence[int]) -> None:
        if high - low + 1 == len(present):
            return
        with self._knowing:
            at = low
            for seq in (*present, high + 1):
                if seq > at:
                    self._held.take(at, seq - 1)
                at = seq + 1


def _connect(path: Path, synchronous: Synchronous) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
    connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit = {4 * _WAL_PAGES * _PAGE_BYTES}")
    connection.execute("PRAGMA secure_delete = OFF")  # Debian's default rewrites every page that is freed
    return connection


def _lock(path: Path) -> IO[bytes]:
    """Keep every other process away: two of them would give out the same numbers."""
    try:
        guard = path.with_name(path.name + ".lock").open("ab")
    except OSError as error:
        raise OutboxError(f"Outbox {path} cannot be opened: {error}.") from error
    try:
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        guard.close()
        raise OutboxError(f"Outbox {path} is in use by another process. Stop that, or choose another path.") from error
    return guard


def _bytes_of(row: OutboxRow) -> int:
    """What a row takes in the file, generously: SQLite fills pages to about nine tenths with rows of this size."""
    return (len(row.body) + len(row.stream) + 24) * 5 // 4


def _is_full(error: sqlite3.Error) -> bool:
    return isinstance(error, sqlite3.OperationalError) and "full" in str(error)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
