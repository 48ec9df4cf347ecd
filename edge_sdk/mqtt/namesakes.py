"""Namesakes: who else uses this station's name, as the monitor's receipts show. Pure: receipts in, findings out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from edge_sdk.contract.receipt import Receipt
from edge_sdk.outbox.epochs import Epoch

_MOST = 64
_SURE_AFTER_NS = 300 * 10**9  # for so long a monitor may work off what was on its way when an image was put back


@dataclass(frozen=True, slots=True)
class Finding:
    """Worth a person's eye.

    Attributes:
        name: Of the event.
        counter: What counts it.
        message: What it is, and what to do.
        detail: Numbers.
    """

    name: str
    counter: str
    message: str
    detail: dict[str, Any] = field(default_factory=dict)


class Namesakes:
    """Finds old images and twins; tells each once.

    The monitor's receipt of a former epoch of ours that names more rows than we have of it: the outbox was put back
    from an old image, or the medium has lost its end. Receipts of an epoch in which we make nothing, and which grow for
    minutes: somebody else makes results under our name.
    """

    def __init__(self) -> None:
        self._told: set[tuple[str, str]] = set()
        self._strange: dict[str, tuple[int, int]] = {}  # by epoch: since when, and how far it had come

    def heard(self, receipt: Receipt, epoch: Epoch | None, *, before: int, is_kept: bool, now_ns: int) -> list[Finding]:
        """What a receipt shows.

        Args:
            receipt: The monitor's.
            epoch: The one of our outbox that it is of; None = it is none of ours.
            before: Rows of the outbox that are older than its present epoch.
            is_kept: Whether the broker had kept it, and it may be old.
            now_ns: Monotonic time.
        """
        top = receipt.stored[-1][1] if receipt.stored else 0
        if epoch is not None and before < epoch.last:  # the present one
            return []
        found = []
        if epoch is not None:
            ours = epoch.last - epoch.before
            if top <= ours:
                return []
            found += self._once(_old_image(receipt.epoch, top, ours), receipt.epoch)
        if not is_kept and self._grows(receipt.epoch, top, now_ns):
            found += self._once(_twin(receipt.epoch, top), receipt.epoch)
        return found

    def _grows(self, epoch: str, top: int, now_ns: int) -> bool:
        since_ns, then = self._strange.setdefault(epoch, (now_ns, top))
        while len(self._strange) > _MOST:
            del self._strange[next(iter(self._strange))]
        return top > then and now_ns - since_ns >= _SURE_AFTER_NS

    def _once(self, finding: Finding, epoch: str) -> list[Finding]:
        if (finding.name, epoch) in self._told or len(self._told) >= _MOST:
            return []
        self._told.add((finding.name, epoch))
        return [finding]


def _old_image(epoch: str, stored: int, ours: int) -> Finding:
    return Finding(
        "outbox.old_image",
        "bridge.old_images",
        f"The monitor has results up to number {stored} of epoch {epoch}, and this outbox made {ours} of them: it was "
        "put back from an old image of the card, or the card has lost its last writes. New results have an epoch of "
        "their own and are not mistaken for those.",
        {"epoch": epoch, "stored": stored, "made_here": ours},
    )


def _twin(epoch: str, stored: int) -> Finding:
    return Finding(
        "station.twin",
        "bridge.twins",
        f"Another station makes results under this station's name, in epoch {epoch}: was its card cloned? Each result "
        "is stored, but pages show both as one. Give one of them another name in station.yaml.",
        {"epoch": epoch, "stored": stored},
    )
