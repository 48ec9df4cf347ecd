"""The outbox on disk: one SQLite file in WAL mode, one fsync per group of results."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

from edge_sdk.base.clock import Clock, ClockState, boot_id
from edge_sdk.base.errors import ConfigError, OutboxError, OutboxFullError
from edge_sdk.contract.envelope import OutboxRow, encode_body
from edge_sdk.contract.receipt import Ranges, Receipt
from edge_sdk.contract.result import FusedResult
from edge_sdk.outbox.ballast import Ballast
from edge_sdk.outbox.base import OutboxStats
from edge_sdk.outbox.identity import RESERVE, Identity, write_identity
from edge_sdk.outbox.retime import Moment, retimed
from edge_sdk.outbox.salvage import is_sound
from edge_sdk.outbox.sqlite_file import INSERT, PAGE_BYTES, SET, Synchronous, connect, lock, parameters, prepare

log = logging.getLogger(__name__)

DEFAULT_QUOTA_BYTES = 256 * 1024 * 1024

_SMALLEST_QUOTA_BYTES = 32 * PAGE_BYTES
_SPARE_PAGES = 8  # for the tree above the rows
_FORGET_AT_ONCE = 10_000
_RELAX_AFTER_S = 60.0

_READ = (
    "SELECT seq, stream, body, accepted_ns, crc, unsynced FROM results WHERE seq BETWEEN ? AND ? ORDER BY seq LIMIT ?"
)
_FORGET = "DELETE FROM results WHERE seq BETWEEN ? AND ?"
_OLDEST = "SELECT seq, length(body) + length(stream) FROM results ORDER BY seq LIMIT ?"
_ENDS = "SELECT (SELECT min(seq) FROM results), (SELECT max(seq) FROM results)"
OnFull = Literal["drop_oldest", "refuse"]


class SqliteOutbox:
    """Accepted results in a file; see `Outbox` for the promises. Made by `open`.

    Which rows are held is known in memory as ranges, so that receipts, statistics and the choice of what to send
    touch no disk. A second connection reads while the first waits for the medium.

    Attributes:
        epoch: Random id made with the outbox.
        path: The file.
        quota_bytes: What it may grow to.
        salvaged: What was saved when the file was found damaged at opening; None = it was sound.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        quota_bytes: int,
        on_full: OnFull,
        synchronous: Synchronous,
        boot: str,
    ) -> None:
        self.path = path
        self.quota_bytes = quota_bytes
        self._clock = clock
        self._on_full = on_full
        self._max_pages = quota_bytes // PAGE_BYTES
        self._writing = threading.Lock()  # guards the writing connection
        self._reading = threading.Lock()  # guards the reading connection
        self._knowing = threading.Lock()  # guards the ranges and numbers below; never held during I/O
        self._held = Ranges()
        self._forgotten = Ranges()  # acknowledged, and still in the file
        self._boot = boot
        self._newest = 0
        self._ballast = Ballast(path)
        self._squeezed_ns: int | None = None
        self._dropped = 0
        self._damaged = 0
        with ExitStack() as opening:
            opening.enter_context(lock(path))
            self._identity, self.salvaged = prepare(path)
            self.epoch = self._identity.epoch
            try:
                self._writer = opening.enter_context(closing(connect(path, synchronous)))
                self._reader = opening.enter_context(closing(connect(path, synchronous)))
                self._load()
                self._ballast.take()
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
        boot: str | None = None,
    ) -> SqliteOutbox:
        """Open the file, or make it with a new epoch.

        Args:
            path: The file; its directory is made when missing.
            clock: Where the time of acceptance comes from.
            quota_bytes: What the file may grow to; its log takes about 1 MiB more.
            on_full: Give up the oldest results, counted, or refuse new ones.
            synchronous: NORMAL saves the fsync of each group, and a power cut then loses accepted results.
            boot: The kernel's id of this boot; None = ask it. Times are repaired only within one.

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
        return cls(
            path,
            clock=clock,
            quota_bytes=quota_bytes,
            on_full=on_full,
            synchronous=synchronous,
            boot=boot or boot_id(),
        )

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
            mark = self._moment().mark()
            marks = [mark if result.clock is ClockState.UNSYNCED else None for result in results]
            rows = [
                OutboxRow(seq, stream, body, now_ns)
                for seq, (stream, body) in enumerate(encoded, start=self._newest + 1)
            ]
            self._reserve(rows[-1].seq)
            self._relax()
            try:
                forgotten, dropped = self._write(rows, marks)
            except OutboxFullError:
                if self._on_full == "refuse" or not self._squeeze():
                    raise
                forgotten, dropped = self._write(rows, marks)
            with self._knowing:
                self._newest = max(self._newest, rows[-1].seq)
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
                    found = self._fetch(low, high, limit - len(rows))
                except sqlite3.Error as error:
                    raise OutboxError(f"Outbox {self.path} cannot be read: {error}.") from error
            sound = [
                row if mark is None else self._mended(row, mark)
                for row, crc, mark in ((OutboxRow._make(one[:4]), one[4], one[5]) for one in found)
                if is_sound(*row, crc)
            ]
            rows.extend(sound)
            exhausted = len(found) < limit - len(rows) + len(sound)
            self._learn_gaps(low, high if exhausted else found[-1][0], [row.seq for row in sound], len(found))
            if len(rows) >= limit:
                break
        return rows

    def acknowledge(self, receipt: Receipt) -> int:
        """Forget the rows that a receipt of this epoch names; returns how many. Other epochs change nothing."""
        if receipt.epoch != self.epoch:
            return 0
        if receipt.stored:
            # The monitor has more than we know of: a medium that lied lost our end. Those numbers were given.
            self._skip_to(receipt.stored[-1][1])
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
                damaged=self._damaged,
            )

    def close(self) -> None:
        """Close the file; what was put stays."""
        with self._writing, self._reading, self._opened, self._transaction():
            self._writer.executemany(SET, [("newest", self._newest), ("damaged", self._damaged)])
            for low, high in self._forgotten.ranges:
                self._writer.execute(_FORGET, (low, high))

    def _fetch(self, low: int, high: int, limit: int) -> list[Any]:
        try:
            return self._reader.execute(_READ, (low, high, limit)).fetchall()
        except sqlite3.OperationalError as error:
            if "decode" not in str(error):
                raise
            # A bit flipped in a stream's name. From now on read such names, too: their checksum will tell.
            self._reader.text_factory = partial(str, encoding="utf-8", errors="replace")
            return self._reader.execute(_READ, (low, high, limit)).fetchall()

    def _mended(self, row: OutboxRow, mark: str) -> OutboxRow:
        """The row; with its times repaired, if it came before the clock was set and that is set now."""
        moment = Moment.of_mark(mark)
        if moment is None or self._clock.state() is not ClockState.SYNCED:
            return row
        error_ns = moment.error_ns(self._moment())
        return row if error_ns is None else retimed(row, error_ns)

    def _moment(self) -> Moment:
        return Moment(self._boot, self._clock.wall_ns(), self._clock.monotonic_ns())

    def _skip_to(self, seq: int) -> None:
        with self._knowing:
            self._newest = max(self._newest, seq)

    # ---- within a write

    def _write(
        self, rows: Sequence[OutboxRow], marks: Sequence[str | None]
    ) -> tuple[list[tuple[int, int]], tuple[int, int, int] | None]:
        """One commit: forget what was acknowledged, make room, insert. Returns what was forgotten and dropped."""
        with self._transaction():
            forgotten = self._forget_some()
            dropped = self._make_room(rows)
            self._writer.executemany(INSERT, parameters(rows, marks))
        return forgotten, dropped

    def _squeeze(self) -> bool:
        """The disk is full before the quota: throw off the ballast, and go on within the size that we have got."""
        if self._squeezed_ns is not None:
            return False
        self._ballast.drop()
        try:
            # What the log holds gets its place in the file, and the log begins anew in its own.
            self._writer.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
            [pages] = self._writer.execute("PRAGMA page_count").fetchone()
        except sqlite3.Error as error:
            log.warning("disk is full", extra={"reason": str(error)})
            return False
        log.warning("disk is full: outbox keeps to its size", extra={"size_bytes": pages * PAGE_BYTES})
        self._squeezed_ns = self._clock.monotonic_ns()
        self._max_pages = int(pages)
        return True

    def _relax(self) -> None:
        """Some time later, try whether the disk has room again."""
        now_ns = self._clock.monotonic_ns()
        if self._squeezed_ns is None or now_ns - self._squeezed_ns < _RELAX_AFTER_S * 1e9:
            return
        if self._ballast.take():
            self._squeezed_ns = None
            self._max_pages = self.quota_bytes // PAGE_BYTES
        else:
            self._squeezed_ns = now_ns

    def _reserve(self, newest: int) -> None:
        """See that the identity says that numbers up to `newest` may have been given."""
        if newest <= self._identity.reserved:
            return
        identity = Identity(self.epoch, newest + RESERVE)
        try:
            write_identity(self.path, identity)
        except OSError as error:
            raise OutboxError(f"The identity of outbox {self.path} cannot be written: {error}.") from error
        self._identity = identity

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
        wanted = sum(_bytes_of(row) for row in rows) + _SPARE_PAGES * PAGE_BYTES
        missing = wanted - self._free_bytes()
        if missing <= 0:
            return None
        if self._on_full == "refuse" or wanted > self._max_pages * PAGE_BYTES // 2:
            raise OutboxFullError(
                f"Outbox {self.path} has reached its quota of {self.quota_bytes} bytes. Raise quota_bytes, or set"
                " on_full to drop_oldest."
            )
        low = high = count = 0
        missing += self._max_pages * PAGE_BYTES // 100  # some more, so that not every put has to do it
        while missing > 0:
            oldest = self._writer.execute(_OLDEST, (1000,)).fetchall()
            if not oldest:
                break
            freed = 0
            for seq, size in oldest:
                low, high, count = low or seq, seq, count + (seq not in self._forgotten)
                freed += size
                if freed >= missing + PAGE_BYTES:
                    break
            self._writer.execute(_FORGET, (low, high))
            missing -= freed
        self._writer.execute(SET, ("dropped", self._dropped + count))
        return low, high, count

    def _free_bytes(self) -> int:
        [pages] = self._writer.execute("PRAGMA page_count").fetchone()
        [free] = self._writer.execute("PRAGMA freelist_count").fetchone()
        return int((self._max_pages - pages + free) * PAGE_BYTES)

    # ---- at opening

    def _load(self) -> None:
        self._writer.execute(f"PRAGMA max_page_count = {self._max_pages}")
        meta = dict(self._writer.execute("SELECT key, value FROM meta").fetchall())
        low, high = self._writer.execute(_ENDS).fetchone()
        self._newest = max(high or 0, meta.get("newest", 0))
        self._dropped = meta.get("dropped", 0)
        self._damaged = meta.get("damaged", 0)
        if low is not None:
            self._held.add(low, high)  # gaps in between are learnt when they are read

    def _learn_gaps(self, low: int, high: int, present: Sequence[int], found: int) -> None:
        if high - low + 1 == len(present):
            return
        damaged = found - len(present)
        if damaged:
            log.error("outbox rows are damaged", extra={"rows": damaged})
        with self._knowing:
            self._damaged += damaged
            at = low
            for seq in (*present, high + 1):
                if seq > at:
                    for span in self._held.take(at, seq - 1):
                        if damaged:
                            self._forgotten.add(*span)  # they leave the file too, and are counted but once
                at = seq + 1


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
