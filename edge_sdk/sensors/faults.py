"""Faults: what goes wrong with sensors in the field, on purpose and at the same moments each time. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from edge_sdk.sensors.base import Strict

FaultKind = Literal["gap", "stuck", "noise", "drift", "nan", "late", "duplicate", "backward"]


class Fault(Strict, frozen=True, kw_only=True):
    """One kind of fault, again and again."""

    kind: Annotated[
        FaultKind,
        Meta(
            description="gap: nothing comes; stuck: the same value; noise: more of it; drift: away from the truth; "
            "nan: not measured; late: handed over later; duplicate: handed over twice; backward: times set back."
        ),
    ]
    every_s: Annotated[float, Meta(gt=0, description="From the begin of one to the begin of the next, s.")] = 60.0
    for_s: Annotated[float, Meta(gt=0, description="How long one lasts, s.")] = 5.0
    after_s: Annotated[float, Meta(ge=0, description="When the first begins, s after the start.")] = 0.0
    amount: Annotated[
        float,
        Meta(
            ge=0,
            description="noise: its standard deviation, in the channel's unit; drift: in that unit a second; "
            "late, backward: s; the others need none.",
        ),
    ] = 1.0

    def elapsed_s(self, t_s: float) -> float | None:
        """How long it has lasted at `t_s` after the start; None when it is not on."""
        if t_s < self.after_s:
            return None
        into_s = (t_s - self.after_s) % self.every_s
        return into_s if into_s < self.for_s else None


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """A block as it is handed over.

    Attributes:
        samples: float32 ``(n, n_channels)``.
        later_s: How much later than it should.
        shift_s: What is added to its event times.
    """

    samples: NDArray[np.float32]
    later_s: float = 0.0
    shift_s: float = 0.0


class Faults:
    """Spoils blocks as it is told to.

    Args:
        faults: What goes wrong; each may be on together with others.
        rng: Source of the noise; None = there are no faults.
    """

    def __init__(self, faults: Sequence[Fault], rng: np.random.Generator | None) -> None:
        self._faults, self._rng = faults, rng
        self._last: NDArray[np.float32] | None = None

    def spoil(self, t_s: float, samples: NDArray[np.float32]) -> list[Delivery]:
        """What is handed over of a block that begins at `t_s` after the start: nothing, it, or it twice."""
        on = [(fault, elapsed_s) for fault in self._faults if (elapsed_s := fault.elapsed_s(t_s)) is not None]
        later_s = shift_s = 0.0
        copies, held = 1, False
        for fault, elapsed_s in on:
            match fault.kind:
                case "gap":
                    copies = 0
                case "stuck":
                    held = True
                case "noise":
                    assert self._rng is not None
                    samples = samples + self._rng.normal(0.0, fault.amount, samples.shape).astype(np.float32)
                case "drift":
                    samples = samples + np.float32(fault.amount * elapsed_s)
                case "nan":
                    samples = np.full_like(samples, np.nan)
                case "late":
                    later_s += fault.amount
                case "duplicate":
                    copies *= 2
                case "backward":
                    shift_s -= fault.amount
        if held and self._last is not None:
            samples = np.broadcast_to(self._last, samples.shape).copy()
        elif not held:
            self._last = samples[-1].copy()
        return [Delivery(samples, later_s, shift_s)] * copies
