"""What an outbox promises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from edge_sdk.contract.envelope import OutboxRow
from edge_sdk.contract.receipt import Receipt
from edge_sdk.contract.result import FusedResult
from edge_sdk.outbox.epochs import Epochs


@dataclass(frozen=True, slots=True)
class OutboxStats:
    """Numbers of an outbox.

    Attributes:
        rows: Results that wait for a receipt.
        file_bytes: Size of the file and its log.
        quota_bytes: What the file may grow to.
        oldest: Lowest number of the present epoch in the file, or the next one: what is below can never be sent.
        first_waiting: Lowest row that waits for a receipt, or the next one to be made; in whichever epoch.
        newest: The newest row ever made, likewise; 0 before the first.
        dropped: Results given up under a full quota, since the outbox was made.
        damaged: Results that the medium damaged, found unreadable; a lower bound.
        kept: Results that stay though a receipt named them, for a monitor that asks again.
    """

    rows: int
    file_bytes: int
    quota_bytes: int
    oldest: int
    first_waiting: int
    newest: int
    dropped: int
    damaged: int = 0
    kept: int = 0


class Outbox(Protocol):
    """Accepted results that outlive a crash or a power cut, numbered, oldest first, until a receipt names them.

    Rows are numbered through; on the wire, a row is named by its epoch and its number within that: see `Epoch`.

    Every method may be called from any thread. `acknowledge`, `again`, `gone` and `stats` touch no disk; the rows
    that are forgotten leave the file with the next `put`, so a crash in between brings them back, which is harmless.

    Attributes:
        epoch: Random id; a new one where the outbox may be an old image of itself, or a copy.
    """

    epoch: str

    @property
    def epochs(self) -> Epochs:
        """The present epoch, and those that numbered older rows."""

    def put(self, results: Sequence[FusedResult]) -> Sequence[OutboxRow]:
        """Number the results and store them in one commit; return when that is on the medium.

        Raises:
            OutboxFullError: The quota is reached and its policy is to refuse; none of them was stored.
            OutboxError: The medium refuses to write; none of them was stored.
        """

    def read(self, *, after: int, limit: int, before: int | None = None) -> Sequence[OutboxRow]:
        """Rows that wait, with ``after < seq`` (and ``seq < before``), oldest first, at most `limit`.

        Raises:
            OutboxError: The medium refuses to read.
        """

    def acknowledge(self, receipt: Receipt) -> int:
        """Rows that a receipt of their epoch names need not be sent any more; returns how many waited.

        They stay as long as the quota says, for `again`. A receipt of an epoch that is not ours changes nothing.
        """

    def again(self, receipt: Receipt) -> Sequence[tuple[int, int]]:
        """Rows kept after an earlier receipt that this one does not name wait again; returns their ranges.

        To be called with receipts that are surely newer than those before, not with one that a broker had kept:
        then the monitor has lost what it had, as when it was restored from a backup. Rows that were receipted within
        the last seconds are left alone: where two monitors listen, one is always a little behind.
        """

    def gone(self, low: int, high: int) -> Sequence[tuple[int, int]]:
        """What of ``low … high`` this outbox can never send: it was given up, or receipted and not kept."""

    def acknowledge_sent(self, low: int, high: int) -> int:
        """Forget ``low … high`` on the broker's word alone (``delivery: broker``); returns how many."""

    def stats(self) -> OutboxStats:
        """Numbers, cheap enough for every health message."""

    def close(self) -> None:
        """Close the file; what was put stays."""
