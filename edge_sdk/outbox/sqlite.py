"""The outbox on disk: one SQLite file in WAL mode, one fsync per group of results."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

from edge_sdk.base.clock import Clock, ClockState, boot_id
from edge_sdk.base.errors import OutboxError, OutboxFullError
from edge_sdk.contract.envelope import OutboxRow, encode_body
from edge_sdk.contract.receipt import Receipt
from edge_sdk.contract.result import FusedResult
from edge_sdk.outbox.base import OutboxStats
from edge_sdk.outbox.body import expanded, squeezed
from edge_sdk.outbox.epochs import Epochs
from edge_sdk.outbox.ledger import Ledger, Spans
from edge_sdk.outbox.meta import read_meta
from edge_sdk.outbox.naming import Naming
from edge_sdk.outbox.quota import Quota
from edge_sdk.outbox.retime import Moment, retimed
from edge_sdk.outbox.room import Room
from edge_sdk.outbox.salvage import is_sound
from edge_sdk.outbox.sqlite_file import Synchronous, connect, lock, prepare
from edge_sdk.outbox.writer import Departures, Writer

log = logging.getLogger(__name__)

_READ = (
    "SELECT seq, stream, body, accepted_ns, crc, unsynced FROM results WHERE seq BETWEEN ? AND ? ORDER BY seq LIMIT ?"
)
_BRACE = ord("{")  # what JSON begins with
_ENDS = "SELECT (SELECT min(seq) FROM results), (SELECT max(seq) FROM results)"


class SqliteOutbox:
    """Accepted results in a file; see `Outbox` for the promises. Made by `open`.

    Which rows are held is known in memory as ranges, so that receipts, statistics and the choice of what to send
    touch no disk. A second connection reads while the first waits for the medium.

    Attributes:
        epoch: Random id; a new one where nobody can say that this file is not an old image of itself, or a copy.
        path: The file.
        quota: What it may hold.
        salvaged: What was saved when the file was found damaged at opening; None = it was sound.
    """

    def __init__(self, path: Path, *, clock: Clock, quota: Quota, synchronous: Synchronous, boot: str) -> None:
        self.path, self.quota = path, quota
        self._clock, self._boot = clock, boot
        self._writing = threading.Lock()  # guards the writing connection
        self._reading = threading.Lock()  # guards the reading connection
        self._ledger = Ledger(keep_s=quota.keep_after_receipt_s)
        self._room = Room(path, quota.bytes)
        with ExitStack() as opening:
            opening.enter_context(lock(path))
            try:
                identity, self.salvaged = prepare(path)
            except OutboxFullError:
                self._room.throw_off()
                identity, self.salvaged = prepare(path)
            try:
                self._db = opening.enter_context(closing(connect(path, synchronous)))
                self._reader = opening.enter_context(closing(connect(path, synchronous)))
                self._room.open(self._db)
                self._load()
            except sqlite3.Error as error:
                raise OutboxError(f"Outbox {path} cannot be opened: {error}.") from error
            self._writer = Writer(path, self._db, self._room, self._ledger, quota)
            self._naming = Naming(path, identity, self._writer, self._ledger)
            opening.callback(self._naming.close)
            self._choose_epoch()
            self._opened = opening.pop_all()
        self.epoch = self.epochs.current.id

    @property
    def epochs(self) -> Epochs:
        """The present epoch, and those that numbered older rows."""
        return self._naming.epochs

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        clock: Clock,
        quota: Quota | None = None,
        synchronous: Synchronous = "FULL",
        boot: str | None = None,
    ) -> SqliteOutbox:
        """Open the file, or make it with a new epoch.

        Args:
            path: The file; its directory is made when missing.
            clock: Where the time of acceptance comes from.
            quota: What it may hold, and what gives way; None = the default one.
            synchronous: NORMAL saves the fsync of each group, and a power cut then loses accepted results.
            boot: The kernel's id of this boot; None = ask it. Times are repaired only within one.

        Raises:
            OutboxError: It cannot be opened, or another process has it open.
        """
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutboxError(f"Directory {path.parent} for the outbox cannot be made: {error}.") from error
        return cls(path, clock=clock, quota=quota or Quota(), synchronous=synchronous, boot=boot or boot_id())

    def put(self, results: Sequence[FusedResult]) -> Sequence[OutboxRow]:
        """Number the results and store them in one commit; return when that is on the medium.

        Raises:
            OutboxFullError: The quota is reached and its policy is to refuse; none of them was stored.
            OutboxError: The medium refuses to write; none of them was stored.
        """
        if not results:
            return ()
        encoded = [(result.stream, encode_body(result)) for result in results]
        stored = [squeezed(body) for _, body in encoded] if self.quota.keep_after_receipt_s else None
        with self._writing:
            now = self._moment()
            marks = [now.mark() if result.clock is ClockState.UNSYNCED else None for result in results]
            rows = [
                OutboxRow(seq, stream, body, now.wall_ns)
                for seq, (stream, body) in enumerate(encoded, start=self._ledger.newest + 1)
            ]
            written = rows
            if stored is not None:
                written = [row._replace(body=body) for row, body in zip(rows, stored, strict=True)]
            self._reserve(rows[-1].seq)
            self._room.relax(now.monotonic_ns)
            self._ledger.expire(now.monotonic_ns)
            try:
                left = self._commit(written, marks, now)
            except OutboxFullError as error:
                # Without a cause it is the quota. With one, the disk is full.
                if error.__cause__ is None or not self._room.squeeze(self._db, now.monotonic_ns):
                    raise
                left = self._commit(written, marks, now)
            self._ledger.deleted(left.deleted)
            self._ledger.give_up(left.given_up, left.count)
            self._ledger.accept(rows[0].seq, rows[-1].seq)
            self._naming.gave(rows[-1].seq)
        return rows

    def read(self, *, after: int, limit: int, before: int | None = None) -> Sequence[OutboxRow]:
        """Rows that wait, with ``after < seq`` (and ``seq < before``), oldest first, at most `limit`.

        Raises:
            OutboxError: The medium refuses to read.
        """
        newest = self._ledger.newest if before is None else before - 1
        rows: list[OutboxRow] = []
        for low, high in self._ledger.waiting_in_pieces(after + 1, newest):
            with self._reading:
                try:
                    found = self._fetch(low, high, limit - len(rows))
                except sqlite3.Error as error:
                    raise OutboxError(f"Outbox {self.path} cannot be read: {error}.") from error
            sound = [
                OutboxRow(seq, stream, body, accepted_ns)
                if mark is None and body[0] == _BRACE
                else self._mended(OutboxRow(seq, stream, expanded(body), accepted_ns), mark)
                for seq, stream, body, accepted_ns, crc, mark in found
                if is_sound(seq, stream, body, accepted_ns, crc)
            ]
            rows.extend(sound)
            exhausted = len(found) < limit - len(rows) + len(sound)
            self._learn_gaps(low, high if exhausted else found[-1][0], [row.seq for row in sound], len(found))
            if len(rows) >= limit:
                break
        return rows

    def acknowledge(self, receipt: Receipt) -> int:
        """Rows that a receipt of this epoch names need not be sent any more; returns how many waited."""
        epoch = self.epochs.named(receipt.epoch)
        if epoch is None:
            return 0
        stored = epoch.rows(receipt.stored)
        is_former = epoch in self.epochs.former
        if stored and not is_former:
            # The monitor has more than we know of: a medium that lied lost our end. Those numbers were given.
            self._ledger.skip_to(stored[-1][1])
        now_ns = self._clock.monotonic_ns()
        count = sum(self._ledger.acknowledge(low, high, now_ns=now_ns) for low, high in stored)
        if is_former and stored == [epoch.span] == self._ledger.gone(*epoch.span):
            self._naming.told(epoch)
        return count

    def again(self, receipt: Receipt) -> Spans:
        """Rows kept after an earlier receipt that this one of their epoch does not name wait again."""
        epoch = self.epochs.named(receipt.epoch)
        spans = () if epoch is None else self._ledger.again(epoch, receipt, self._clock.monotonic_ns())
        if spans:
            with self._writing:
                self._writer.start_over()
        return spans

    def acknowledge_sent(self, low: int, high: int) -> int:
        """Forget ``low … high`` on the broker's word alone (``delivery: broker``); returns how many."""
        return self._ledger.acknowledge(low, high, now_ns=None)

    def gone(self, low: int, high: int) -> Spans:
        """What of ``low … high`` this outbox can never send."""
        return self._ledger.gone(low, high)

    def stats(self) -> OutboxStats:
        """Numbers, cheap enough for every health message."""
        ledger = self._ledger
        return OutboxStats(
            rows=ledger.rows,
            file_bytes=self._room.file_bytes,
            quota_bytes=self.quota.bytes,
            oldest=max(1, ledger.oldest() - self.epochs.current.before),
            first_waiting=ledger.first_waiting(),
            newest=ledger.newest,
            dropped=ledger.dropped,
            damaged=ledger.damaged,
            kept=ledger.kept,
        )

    def close(self) -> None:
        """Close the file; what was put stays."""
        with self._writing, self._reading, self._opened:
            try:
                self._writer.finish()
            except OutboxError as error:  # a crash would leave it so, too: some rows will be sent twice
                log.warning("outbox is closed as it is", extra={"reason": str(error)})

    # ---- parts of these

    def _commit(self, rows: Sequence[OutboxRow], marks: Sequence[str | None], now: Moment) -> Departures:
        oldest_ns = None
        if self.quota.max_age_s is not None and self._clock.state() is ClockState.SYNCED:
            oldest_ns = now.wall_ns - round(self.quota.max_age_s * 1e9)
        return self._writer.commit(rows, marks, now_ns=now.monotonic_ns, oldest_ns=oldest_ns)

    def _choose_epoch(self) -> None:
        if self._naming.choose():
            return
        try:
            self._reserve(self._ledger.newest)
        except OutboxError as error:  # the first `put` tries it again
            log.warning("outbox cannot write down its epoch", extra={"reason": str(error)})

    def _reserve(self, newest: int) -> None:
        """See that numbers up to `newest` may be given; where the disk is full, with the ballast's room."""
        try:
            self._naming.reserve(newest)
        except OutboxFullError:
            if not self._room.squeeze(self._db, self._clock.monotonic_ns()):
                raise
            self._naming.reserve(newest)

    def _fetch(self, low: int, high: int, limit: int) -> list[Any]:
        try:
            return self._reader.execute(_READ, (low, high, limit)).fetchall()
        except sqlite3.OperationalError as error:
            if "decode" not in str(error):
                raise
            # A bit flipped in a stream's name. From now on read such names, too: their checksum will tell.
            self._reader.text_factory = partial(str, encoding="utf-8", errors="replace")
            return self._reader.execute(_READ, (low, high, limit)).fetchall()

    def _mended(self, row: OutboxRow, mark: str | None) -> OutboxRow:
        """The row; with its times repaired, if it came before the clock was set and that is set now."""
        moment = Moment.of_mark(mark)
        if moment is None or self._clock.state() is not ClockState.SYNCED:
            return row
        error_ns = moment.error_ns(self._moment())
        return row if error_ns is None else retimed(row, error_ns)

    def _moment(self) -> Moment:
        return Moment(self._boot, self._clock.wall_ns(), self._clock.monotonic_ns())

    def _learn_gaps(self, low: int, high: int, present: Sequence[int], found: int) -> None:
        if high - low + 1 == len(present):
            return
        damaged = found - len(present)
        if damaged:
            log.error("outbox rows are damaged", extra={"rows": damaged})
        self._ledger.learn(low, high, present, damaged=damaged)

    def _load(self) -> None:
        meta = read_meta(self._db)
        low, high = self._db.execute(_ENDS).fetchone()
        self._ledger.load(
            oldest=low or 0,
            highest=high or 0,
            newest=meta.newest,
            dropped=meta.dropped,
            damaged=meta.damaged,
            receipted=meta.receipted,
            now_ns=self._clock.monotonic_ns(),
        )
