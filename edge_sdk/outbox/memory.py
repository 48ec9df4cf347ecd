"""The outbox in memory: for tests and for replays that need not outlive the process."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from edge_sdk.base.clock import Clock, ClockState
from edge_sdk.base.errors import OutboxFullError
from edge_sdk.base.ids import new_epoch
from edge_sdk.contract.envelope import OutboxRow, encode_body
from edge_sdk.contract.receipt import Receipt, runs
from edge_sdk.contract.result import FusedResult
from edge_sdk.outbox.base import OutboxStats
from edge_sdk.outbox.epochs import Epochs
from edge_sdk.outbox.ledger import Ledger, Spans
from edge_sdk.outbox.quota import Eviction, Quota


class MemoryOutbox:
    """Accepted results in memory; see `Outbox` for the promises, of which a crash breaks the first."""

    def __init__(self, *, clock: Clock, quota: Quota | None = None) -> None:
        self.epochs = Epochs(((0, new_epoch()),))
        self.epoch = self.epochs.current.id
        self.quota = quota or Quota()
        self._clock = clock
        self._rows: dict[int, OutboxRow] = {}
        self._bytes = 0
        self._ledger = Ledger(keep_s=self.quota.keep_after_receipt_s)
        self._eviction = Eviction(self.quota)
        self._lock = threading.Lock()

    def put(self, results: Sequence[FusedResult]) -> Sequence[OutboxRow]:
        """Number the results and store them.

        Raises:
            OutboxFullError: The quota is reached and its policy is to refuse; none of them was stored.
        """
        now_ns = self._clock.wall_ns()
        with self._lock:
            rows = [
                OutboxRow(seq, result.stream, encode_body(result), now_ns)
                for seq, result in enumerate(results, start=self._ledger.newest + 1)
            ]
            self._forget()
            self._expire(now_ns)
            self._make_room(sum(len(row.body) for row in rows))
            for row in rows:
                self._rows[row.seq] = row
                self._bytes += len(row.body)
            if rows:
                self._ledger.accept(rows[0].seq, rows[-1].seq)
        return rows

    def read(self, *, after: int, limit: int, before: int | None = None) -> Sequence[OutboxRow]:
        """Rows that wait, with ``after < seq`` (and ``seq < before``), oldest first, at most `limit`."""
        with self._lock:
            spans = self._ledger.waiting(after + 1, self._ledger.newest if before is None else before - 1)
            wanted = (seq for low, high in spans for seq in range(low, high + 1))
            return [self._rows[seq] for seq, _ in zip(wanted, range(limit), strict=False)]

    def acknowledge(self, receipt: Receipt) -> int:
        """Rows that a receipt of this epoch names need not be sent any more; returns how many waited."""
        if receipt.epoch != self.epoch:
            return 0
        if receipt.stored:
            self._ledger.skip_to(receipt.stored[-1][1])
        now_ns = self._clock.monotonic_ns()
        return sum(self._ledger.acknowledge(low, high, now_ns=now_ns) for low, high in receipt.stored)

    def again(self, receipt: Receipt) -> Spans:
        """Rows kept after an earlier receipt that this one of our epoch does not name wait again."""
        with self._lock:
            self._eviction.start_over()
            if receipt.epoch != self.epoch:
                return ()
            return self._ledger.again(self.epochs.current, receipt, self._clock.monotonic_ns())

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
            file_bytes=self._bytes,
            quota_bytes=self.quota.bytes,
            oldest=ledger.oldest(),
            first_waiting=ledger.first_waiting(),
            newest=ledger.newest,
            dropped=ledger.dropped,
            kept=ledger.kept,
        )

    def close(self) -> None:
        """Nothing to do."""

    # ---- with the lock held

    def _forget(self) -> None:
        self._ledger.expire(self._clock.monotonic_ns())
        spans = self._ledger.forgotten_spans()
        self._delete(seq for low, high in spans for seq in range(low, high + 1))
        self._ledger.deleted(spans)

    def _expire(self, now_ns: int) -> None:
        if self.quota.max_age_s is None or self._clock.state() is not ClockState.SYNCED:
            return
        oldest_ns, old = now_ns - round(self.quota.max_age_s * 1e9), []
        for seq, _, _ in self._waiting_after(0):
            if self._rows[seq].accepted_ns >= oldest_ns:
                break
            old.append(seq)
        self._give_up(old)

    def _make_room(self, wanted: int) -> None:
        if self._bytes + wanted <= self.quota.bytes:
            return
        for low, high in self._ledger.kept_spans():
            self._delete(range(low, high + 1))
            self._ledger.deleted([(low, high)])
        while wanted <= self.quota.bytes // 2 and (missing := self._bytes + wanted - self.quota.bytes) > 0:
            chosen = self._eviction.choose(missing, self._waiting_after, self._ledger.rows)
            if not chosen:
                break
            self._give_up(chosen)
        if self._bytes + wanted > self.quota.bytes:
            raise OutboxFullError(f"The outbox in memory has reached its quota of {self.quota.bytes} bytes.")

    def _waiting_after(self, after: int) -> Iterator[tuple[int, str, int]]:
        for low, high in self._ledger.waiting(after + 1, self._ledger.newest):
            for seq in range(low, high + 1):
                yield seq, self._rows[seq].stream, len(self._rows[seq].body)

    def _give_up(self, chosen: Sequence[int]) -> None:
        self._delete(chosen)
        self._ledger.give_up(runs(chosen), len(chosen))

    def _delete(self, seqs: Sequence[int] | Iterator[int] | range) -> None:
        for seq in seqs:
            self._bytes -= len(self._rows.pop(seq).body)
