"""A fused result: the JSON that every subscriber reads, without the envelope that delivery puts around it."""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import UNSET, UnsetType

from edge_sdk.base.clock import ClockState, from_datetime
from edge_sdk.contract.prediction import ContributorState


class Contributor(msgspec.Struct, frozen=True, kw_only=True):
    """One model's part in a fused result.

    Attributes:
        model: The model's name.
        bundle: Digest of the bundle that answered, ``sha256:…``.
        state: Whether it counted, or why not.
        age_ms: Age of its window at the moment of fusion, milliseconds.
        weight: Its weight in the fusion, 0 to 1; 0 when it did not count.
        label: The label it would have given alone (classification).
        confidence: The probability of that label, 0 to 1.
        value: The estimate it gave (regression), in the result's unit.
        reason: Why its state is not fresh.
    """

    model: str
    bundle: str
    state: ContributorState
    age_ms: int | UnsetType = UNSET
    weight: float = 0.0
    label: str | UnsetType = UNSET
    confidence: float | UnsetType = UNSET
    value: float | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class FusedResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the station's models say together of one moment.

    A classification carries `label`, `confidence`, `probabilities` and `set`;
    a regression carries `value`, `unit`, `std` and `interval`.

    Attributes:
        stream: Which of the station's streams.
        t: Event time of the end of the windows, UTC.
        observed: Wall time at which the last sample used reached the station, UTC.
        clock: Whether the station's clock could be believed.
        method: Name of the fuser.
        degraded: Whether a contributor was missing, stale, rejected or failed.
        contributors: Every model that took part or should have.
        absent: Names of those that did not count.
        flags: Short words worth a person's eye: ``cpu_fallback``, ``few_contributors`` …
        label: The fused label.
        confidence: Probability of `label`, 0 to 1.
        probabilities: Probability of each label; sums to 1 before rounding to 4 decimals.
        set: The conformal set of labels.
        value: The fused estimate.
        unit: Unit of `value`.
        std: Standard deviation of `value`.
        interval: Lower and upper end of the interval, in `unit`.
    """

    stream: str
    t: datetime
    observed: datetime
    clock: ClockState
    method: str
    degraded: bool = False
    contributors: tuple[Contributor, ...] = ()
    absent: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    label: str | UnsetType = UNSET
    confidence: float | UnsetType = UNSET
    probabilities: dict[str, float] | UnsetType = UNSET
    set: tuple[str, ...] | UnsetType = UNSET
    value: float | UnsetType = UNSET
    unit: str | UnsetType = UNSET
    std: float | UnsetType = UNSET
    interval: tuple[float, float] | UnsetType = UNSET

    @property
    def t_ns(self) -> int:
        """Event time, nanoseconds since the Unix epoch."""
        return from_datetime(self.t)
