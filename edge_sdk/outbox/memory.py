"""The outbox in memory: for tests and for replays that need not outlive the process."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import OutboxFullError
from edge_sdk.base.ids import new_epoch
from edge_sdk.contract.envelope import OutboxRow, encode_body
from edge_sdk.contract.receipt import Receipt
from edge_sdk.contract.result import FusedResult
from edge_sdk.outbox.base import OutboxStats
from edge_sdk.outbox.sqlite import DEFAULT_QUOTA_BYTES, OnFull


class MemoryOutbox:
    """Accepted results in memory; see `Outbox` for the promises, of which a crash breaks the first."""

    def __init__(
        self, *, clock: Clock, quota_bytes: int = DEFAULT_QUOTA_BYTES, on_full: OnFull = "drop_oldest"
    ) -> None:
        self.epoch = new_epoch()
        self.quota_bytes = quota_bytes
        self._clock = clock
        self._on_full = on_full
        self._rows: dict[int, OutboxRow] = {}  # by number, which is also their order
        self._bytes = 0
        self._newest = 0
        self._dropped = 0
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
                for seq, result in enumerate(results, start=self._newest + 1)
            ]
            wanted = sum(len(row.body) for row in rows)
            if self._bytes + wanted > self.quota_bytes and (
                self._on_full == "refuse" or wanted > self.quota_bytes // 2
            ):
                raise OutboxFullError(f"The outbox in memory has reached its quota of {self.quota_bytes} bytes.")
            while self._bytes + wanted > self.quota_bytes:
                self._forget(next(iter(self._rows)))
                self._dropped += 1
            for row in rows:
                self._rows[row.seq] = row
                self._bytes += len(row.body)
                self._newest = row.seq
        return rows

    def read(self, *, after: int, limit: int, before: int | None = None) -> Sequence[OutboxRow]:
        """Rows with ``after < seq`` (and ``seq < before``), oldest first, at most `limit`."""
        with self._lock:
            wanted = (seq for seq in self._rows if after < seq and (before is None or seq < before))
            return [self._rows[seq] for seq, _ in zip(wanted, range(limit), strict=False)]

    def acknowledge(self, receipt: Receipt) -> int:
        """Forget the rows that a receipt of this epoch names; returns how many. Other epochs change nothing."""
        if receipt.epoch != self.epoch:
            return 0
        if receipt.stored:
            self._newest = max(self._newest, receipt.stored[-1][1])
        return sum(self.acknowledge_sent(low, high) for low, high in receipt.stored)

    def acknowledge_sent(self, low: int, high: int) -> int:
        """Forget ``low … high`` on the broker's word alone (``delivery: broker``); returns how many."""
        with self._lock:
            named = [seq for seq in self._rows if low <= seq <= high]
            for seq in named:
                self._forget(seq)
        return len(named)

    def stats(self) -> OutboxStats:
        """Numbers, cheap enough for every health message."""
        with self._lock:
            return OutboxStats(
                rows=len(self._rows),
                file_bytes=self._bytes,
                quota_bytes=self.quota_bytes,
                oldest=next(iter(self._rows), self._newest + 1),
                newest=self._newest,
                dropped=self._dropped,
            )

    def close(self) -> None:
        """Nothing to do."""

    def _forget(self, seq: int) -> None:
        self._bytes -= len(self._rows.pop(seq).body)
