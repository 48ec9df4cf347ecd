"""The writer: one commit of the outbox's file forgets what need not be kept, makes room, and stores new rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from edge_sdk.base.errors import OutboxError, OutboxFullError
from edge_sdk.contract.envelope import OutboxRow
from edge_sdk.contract.receipt import runs
from edge_sdk.outbox.ledger import Ledger
from edge_sdk.outbox.meta import SET, epochs_value, receipted_value
from edge_sdk.outbox.quota import Eviction, Quota
from edge_sdk.outbox.room import PAGE_BYTES, Room
from edge_sdk.outbox.sqlite_file import INSERT, insert

_SPARE_PAGES = 2, 8  # for the tree above the rows: at least, at most
_FORGET_AT_ONCE = 10_000
_SLICE = 500  # rows given up whose pages are written anew at once
_SPARSE = 10  # numbers per row given up, beyond which their pages stay as they are
_RECEIPTED_EVERY_S = 10.0
_RECEIPTED_RANGES = 64

_FORGET = "DELETE FROM results WHERE seq BETWEEN ? AND ?"
_SIZES = "SELECT seq, stream, length(body) FROM results WHERE seq BETWEEN ? AND ? ORDER BY seq"
_AGES = "SELECT seq, accepted_ns FROM results WHERE seq BETWEEN ? AND ? AND unsynced IS NULL ORDER BY seq LIMIT 1000"
_WHOLE = "SELECT seq, stream, accepted_ns, body, crc, unsynced FROM results WHERE seq BETWEEN ? AND ? ORDER BY seq"


@dataclass(slots=True)
class Departures:
    """Which rows left the file in one commit.

    Attributes:
        deleted: Somebody had acknowledged them.
        given_up: Nobody had.
        count: How many were given up.
    """

    deleted: list[tuple[int, int]] = field(default_factory=list)
    given_up: list[tuple[int, int]] = field(default_factory=list)
    count: int = 0


class Writer:
    """Writes one outbox; not safe for several threads.

    Args:
        path: The file, for messages.
        db: A connection to it that nobody else uses.
        room: How large it may be.
        ledger: What it holds; read here, never changed.
        quota: Who gives way.
    """

    def __init__(self, path: Path, db: sqlite3.Connection, room: Room, ledger: Ledger, quota: Quota) -> None:
        self._path, self._db, self._room, self._ledger, self._quota = path, db, room, ledger, quota
        self._eviction = Eviction(quota)
        self._told_receipted_ns = 0

    def commit(
        self, rows: Sequence[OutboxRow], marks: Sequence[str | None], *, now_ns: int, oldest_ns: int | None
    ) -> Departures:
        """Store rows, each with its mark when its clock was unsynced.

        Args:
            rows: New ones.
            marks: One for each.
            now_ns: Monotonic time.
            oldest_ns: Wall time; rows accepted before it are too old. None = none is.

        Raises:
            OutboxFullError: There is no room and nobody may give way, or the disk is full. Nothing was changed.
            OutboxError: The medium refuses. Nothing was changed.
        """
        left = Departures()
        with self.transaction():
            self._forget(left)
            if oldest_ns is not None:
                self._expire(left, oldest_ns)
            self._make_room(rows, left)
            insert(self._db, rows, marks)
            if left.count:
                self._db.execute(SET, ("dropped", self._ledger.dropped + left.count))
            if now_ns - self._told_receipted_ns > _RECEIPTED_EVERY_S * 1e9:
                self._tell_receipted()
                self._told_receipted_ns = now_ns
        return left

    def tell_epochs(self, epochs: Sequence[tuple[int, str]]) -> None:
        """Write down which epoch numbers the rows to come. Raises OutboxFullError, OutboxError."""
        with self.transaction():
            self._db.execute(SET, epochs_value(epochs))

    def start_over(self) -> None:
        """Rows that were acknowledged wait again."""
        self._eviction.start_over()

    def finish(self) -> None:
        """Write down what is only in memory, before the file is closed. Raises OutboxError."""
        with self.transaction():
            for span in self._ledger.forgotten_spans():
                self._db.execute(_FORGET, span)
            self._tell_receipted()
            numbers = {"newest": self._ledger.newest, "damaged": self._ledger.damaged}
            self._db.executemany(SET, list(numbers.items()))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. Raises OutboxFullError, OutboxError."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._eviction.start_over()
            if not isinstance(error, sqlite3.Error):
                raise
            if isinstance(error, sqlite3.OperationalError) and "full" in str(error):
                raise OutboxFullError(
                    f"Outbox {self._path}: {error}. Free space on that disk, or lower the quota below what is free."
                ) from error
            raise OutboxError(f"Outbox {self._path} cannot be written: {error}.") from error

    def _tell_receipted(self) -> None:
        """After a crash these need not be sent again; it does no harm if some are."""
        self._db.execute(SET, receipted_value(self._ledger.receipted_spans(_RECEIPTED_RANGES)))

    def _forget(self, left: Departures) -> None:
        """Delete what is not wanted any more, but not so much at once that a commit takes long."""
        room = _FORGET_AT_ONCE
        for low, high in self._ledger.forgotten_spans():
            high = min(high, low + room - 1)
            self._db.execute(_FORGET, (low, high))
            left.deleted.append((low, high))
            room -= high - low + 1
            if room <= 0:
                break

    def _expire(self, left: Departures, oldest_ns: int) -> None:
        """Give up what is too old."""
        first, newest, last = self._ledger.first_waiting(), self._ledger.newest, 0
        for seq, accepted_ns in self._db.execute(_AGES, (first, newest)):
            if accepted_ns >= oldest_ns:
                break
            last = seq
        for span in self._ledger.waiting(first, last):
            left.count += self._db.execute(_FORGET, span).rowcount
            left.given_up.append(span)

    def _make_room(self, rows: Sequence[OutboxRow], left: Departures) -> None:
        """See that the rows fit: forgotten and kept ones give way first, then those that the quota's policy names."""
        least, most = _SPARE_PAGES
        spare = min(most, least + self._room.bytes // PAGE_BYTES // 100) * PAGE_BYTES
        wanted = sum(_bytes_of(len(row.body), row.stream) for row in rows) + spare
        if wanted <= self._room.free_bytes(self._db):
            return
        margin = self._room.bytes // 100  # so that not every commit has to do it
        for low, high in (*self._ledger.forgotten_spans(), *self._ledger.kept_spans()):
            while low <= high and wanted + margin > self._room.free_bytes(self._db):
                upto = min(high, low + 999)
                self._db.execute(_FORGET, (low, upto))
                left.deleted.append((low, upto))
                low = upto + 1
        if wanted <= self._room.free_bytes(self._db):
            return
        if wanted > self._room.bytes // 2:
            self._refuse("Put fewer results at once")
        while (missing := wanted + margin - self._room.free_bytes(self._db)) > 0:
            chosen = self._eviction.choose(missing, self._waiting_after, self._ledger.rows)
            if not chosen:
                break
            self._give_up(chosen, left)
        if wanted > self._room.free_bytes(self._db):
            self._refuse("Set on_full to drop_oldest or thin")

    def _waiting_after(self, seq: int) -> Iterator[tuple[int, str, int]]:
        for span in self._ledger.waiting_in_pieces(seq + 1, self._ledger.newest):
            for found, stream, size in self._db.execute(_SIZES, span):
                yield found, stream, _bytes_of(size, stream)

    def _give_up(self, chosen: Sequence[int], left: Departures) -> None:
        """Delete rows, and write the rest of their pages anew: SQLite frees whole pages alone."""
        left.count += len(chosen)
        left.given_up.extend(runs(chosen))
        for start in range(0, len(chosen), _SLICE):
            part = chosen[start : start + _SLICE]
            low, high = part[0], part[-1]
            if high - low >= _SPARSE * len(part):  # more would be written than won
                self._db.executemany(_FORGET, [(seq, seq) for seq in part])
                continue
            victims = set(part)
            others = [row for row in self._db.execute(_WHOLE, (low, high)) if row[0] not in victims]
            self._db.execute(_FORGET, (low, high))
            self._db.executemany(INSERT, others)

    def _refuse(self, cure: str) -> None:
        if self._room.is_squeezed:
            raise OutboxFullError(f"Outbox {self._path}: the disk is full. Free space on that disk.")
        raise OutboxFullError(
            f"Outbox {self._path} has reached its quota of {self._quota.bytes} bytes. {cure}, or raise the quota."
        )


def _bytes_of(body_bytes: int, stream: str) -> int:
    """What a row takes in the file, generously: SQLite fills pages to about nine tenths with rows of this size."""
    return (body_bytes + len(stream) + 24) * 5 // 4
