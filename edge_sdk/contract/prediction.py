"""A prediction: what one local model says of one window, and the state it is in."""

from __future__ import annotations

from enum import Enum

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sdk.base.clock import ClockState


class ContributorState(str, Enum):
    """What a contributor is worth at the moment of fusion."""

    FRESH = "fresh"
    STALE = "stale"
    """Older than its max age."""
    ABSENT = "absent"
    """Nothing came."""
    REJECTED = "rejected"
    """An input or output guard refused it."""
    FAILED = "failed"
    """Its model raised, or what it answered is no answer."""


class Prediction(msgspec.Struct, frozen=True, eq=False):
    """What one model says of ``[start_ns, end_ns)``; classification or regression.

    Attributes:
        model: The model's name.
        start_ns: Event time of the window's start, nanoseconds since the Unix epoch.
        end_ns: Event time just past the window.
        state: FRESH, or why it must not count; then the values below are None.
        probabilities: float64 ``(n_classes,)`` that sums to 1, after temperature scaling; None for regression.
        value: The estimate, in the bundle's unit; None for classification.
        std: Standard deviation of `value`, same unit.
        features: float32 ``(n_features,)`` that the model hands on to a learned fuser; None if it has none.
        reason: Why the state is not FRESH, in one short word.
        observed_ns: Wall time at which the window's last sample reached this machine.
        clock: Whether the wall clock could be believed when the window was measured.
    """

    model: str
    start_ns: int
    end_ns: int
    state: ContributorState = ContributorState.FRESH
    probabilities: NDArray[np.float64] | None = None
    value: float | None = None
    std: float | None = None
    features: NDArray[np.float32] | None = None
    reason: str = ""
    observed_ns: int = 0
    clock: ClockState = ClockState.SYNCED
