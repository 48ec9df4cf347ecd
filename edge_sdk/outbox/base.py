"""What an outbox promises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from edge_sdk.contract.envelope import OutboxRow
from edge_sdk.contract.receipt import Receipt
from edge_sdk.contract.result import FusedResult


@dataclass(frozen=True, slots=True)
class OutboxStats:
    """Numbers of an outbox.

    Attributes:
        rows: Results that wait for a receipt.
        file_bytes: Size of the file and its log.
        quota_bytes: What the file may grow to.
        oldest: Lowest sequence number still held, or the next one when empty.
        newest: Highest sequence number ever given; 0 before the first.
        dropped: Results given up under a full quota, since the outbox was made.
        damaged: Results that the medium damaged, found unreadable; a lower bound.
    """

    rows: int
    file_bytes: int
    quota_bytes: int
    oldest: int
    newest: int
    dropped: int
    damaged: int = 0


class Outbox(Protocol):
    """Accepted results that outlive a crash or a power cut, numbered, oldest first, until a receipt names them.

    Every method may be called from any thread. `acknowledge` and `stats` touch no disk; the rows that are forgotten
    leave the file with the next `put`, so a crash in between brings them back, which is harmless.

    Attributes:
        epoch: Random id made with the outbox.
    """

    epoch: str

    def put(self, results: Sequence[FusedResult]) -> Sequence[OutboxRow]:
        """Number the results and store them in one commit; return when that is on the medium.

        Raises:
            OutboxFullError: The quota is reached and its policy is to refuse; none of them was stored.
            OutboxError: The medium refuses to write; none of them was stored.
        """

    def read(self, *, after: int, limit: int, before: int | None = None) -> Sequence[OutboxRow]:
        """Rows with ``after < seq`` (and ``seq < before``), oldest first, at most `limit`."""

    def acknowledge(self, receipt: Receipt) -> int:
        """Forget the rows that a receipt of this epoch names; returns how many. Other epochs change nothing."""

    def acknowledge_sent(self, low: int, high: int) -> int:
        """Forget ``low … high`` on the broker's word alone (``delivery: broker``); returns how many."""

    def stats(self) -> OutboxStats:
        """Numbers, cheap enough for every health message."""

    def close(self) -> None:
        """Close the file; what was put stays."""
