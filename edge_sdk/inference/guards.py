"""Guards: what must hold of a window before a model sees it, and of an answer before anybody believes it."""

from __future__ import annotations

import math
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from edge_sdk.base.errors import ConfigError, nearest
from edge_sdk.contract.manifest import Channel, Manifest, Variant
from edge_sdk.contract.window import Window

_FEW = 40
_SUM_TOLERANCE = 0.05
_STEP = 1 / 256  # of an 8-bit softmax
_Positive = Annotated[float, Meta(gt=0)]
_Fraction = Annotated[float, Meta(ge=0, le=1)]


class ChannelGuard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What must hold of one channel; what is not given is as the bundle says."""

    minimum: Annotated[float | None, Meta(description="Lowest value that is possible, in the channel's unit.")] = None
    maximum: Annotated[float | None, Meta(description="Highest value that is possible, in the channel's unit.")] = None
    maximum_rate: Annotated[
        _Positive | None, Meta(description="Largest possible change a second, in the channel's unit.")
    ] = None
    stuck_after_s: Annotated[
        _Positive | None, Meta(description="The very same value for this long means a broken sensor, s.")
    ] = None


class Guards(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What must hold of a model's windows and answers at this place; what is not given is as the bundle says."""

    channels: Annotated[dict[str, ChannelGuard], Meta(description="By the name of the channel in the bundle.")] = {}
    minimum_coverage: Annotated[
        _Fraction | None, Meta(description="Least fraction of measured samples in a window, 0 to 1.")
    ] = None
    value_range: Annotated[
        tuple[float, float] | None, Meta(description="Lowest and highest estimate to believe, in the bundle's unit.")
    ] = None
    labels: Annotated[
        tuple[str, ...], Meta(description="Answers to believe; one with another label is rejected. None = all.")
    ] = ()


class InputGuard:
    """Refuses windows that the model was never meant to see. Holds what it saw last; give it windows in order.

    Args:
        manifest: What the bundle says.
        guards: What this place says.

    Raises:
        ConfigError: The place names a channel that the bundle has not, or nothing could ever pass.
    """

    def __init__(self, manifest: Manifest, guards: Guards | None = None) -> None:
        guards = guards or Guards()
        names = [channel.name for channel in manifest.channels]
        if unknown := sorted(guards.channels.keys() - set(names)):
            raise ConfigError(
                f"Model {manifest.name!r} has no channel {unknown[0]!r} to guard. {nearest(unknown[0], names)}"
            )
        limits = [_limits(channel, guards.channels.get(channel.name, ChannelGuard())) for channel in manifest.channels]
        spec = manifest.windowing
        self._names, self._length, self._rate_hz = names, spec.length, spec.rate_hz
        given = guards.minimum_coverage
        self._minimum_coverage = spec.minimum_coverage if given is None else given
        self._minima = _array([limit.minimum for limit in limits], -np.inf)
        self._maxima = _array([limit.maximum for limit in limits], np.inf)
        self._floor, self._ceiling = float(self._minima.max()), float(self._maxima.min())
        self._has_range = math.isfinite(self._floor) or math.isfinite(self._ceiling)
        self._rates = _array([limit.maximum_rate for limit in limits], np.inf)
        self._stuck_ns = _array([limit.stuck_after_s for limit in limits], np.inf).astype(np.float64) * 1e9
        self._watches = bool(np.isfinite(self._rates).any() or np.isfinite(self._stuck_ns).any())
        self._last = np.full(len(names), np.nan, np.float32)
        self._last_end_ns = -(1 << 62)
        self._same_since_ns = np.zeros(len(names), np.int64)

    def refuse(self, window: Window) -> str:
        """Why the window must not be used, in one word; empty when it may."""
        samples = window.samples
        if samples.shape[1] != len(self._names):
            return "channels"
        if samples.shape[0] != self._length:
            return "length"
        if window.coverage < self._minimum_coverage:
            return "coverage"
        if not self._has_range and math.isfinite(np.vdot(samples, samples)):  # overflow is looked into below
            return self._watch(window) if self._watches else ""
        lowest = samples.item(samples.argmin())  # NaN if there is one; over few, a third of the time of min()
        highest = samples.item(samples.argmax())
        if not (math.isfinite(lowest) and math.isfinite(highest)):
            return "not_finite"
        if lowest < self._floor or highest > self._ceiling:  # not in everybody's range: look at each
            if (samples.min(axis=0) < self._minima).any():
                return "below_range"
            if (samples.max(axis=0) > self._maxima).any():
                return "above_range"
        return self._watch(window) if self._watches else ""

    def _watch(self, window: Window) -> str:
        """What takes more than one sample to see: a change too quick, a value that never changes."""
        samples = window.samples
        follows = window.start_ns <= self._last_end_ns < window.end_ns
        moves = np.abs(np.diff(samples, axis=0))
        jumps = moves.max(axis=0) if len(moves) else np.zeros(samples.shape[1], np.float32)
        if follows and window.start_ns == self._last_end_ns:  # side by side: the step between them counts, too
            jumps = np.maximum(jumps, np.abs(samples[0] - self._last))
        step_ns = 1e9 / self._rate_hz
        for channel in range(samples.shape[1]):
            changes = np.flatnonzero(moves[:, channel])
            if len(changes):
                self._same_since_ns[channel] = window.start_ns + round((int(changes[-1]) + 1) * step_ns)
            elif not (follows and samples[0, channel] == self._last[channel]):
                self._same_since_ns[channel] = window.start_ns
        self._last, self._last_end_ns = samples[-1].copy(), window.end_ns
        if (jumps * self._rate_hz > self._rates).any():
            return "rate"
        if ((window.end_ns - self._same_since_ns) >= self._stuck_ns).any():
            return "stuck"
        return ""


class OutputGuard:
    """Refuses answers that nobody should believe.

    Args:
        manifest: What the bundle says.
        guards: What this place says.

    Raises:
        ConfigError: The place names a label that the bundle has not, or nothing could ever pass.
    """

    def __init__(self, manifest: Manifest, guards: Guards | None = None) -> None:
        guards = guards or Guards()
        if unknown := sorted(set(guards.labels) - set(manifest.labels)):
            raise ConfigError(
                f"Model {manifest.name!r} has no label {unknown[0]!r} to allow. {nearest(unknown[0], manifest.labels)}"
            )
        span = guards.value_range or manifest.value_range
        self._low, self._high = span or (-math.inf, math.inf)
        if not self._low <= self._high:
            raise ConfigError(f"Model {manifest.name!r}: value_range wants the lower end first; given is {span}.")
        allowed = set(guards.labels or manifest.labels)
        self._allowed = tuple(label in allowed for label in manifest.labels)
        self._allows_all = all(self._allowed)

    def refuse_value(self, value: float) -> str:
        """Why an estimate must not be believed, in one word; empty when it may."""
        return "" if self._low <= value <= self._high else "output_range"

    def refuse_label(self, probabilities: NDArray[np.float64]) -> str:
        """Why the likeliest label must not be believed, in one word; empty when it may."""
        return "" if self._allows_all or self._allowed[int(probabilities.argmax())] else "output_label"


def sum_tolerance(variant: Variant) -> float:
    """How far probabilities may sum from 1: each class of an 8-bit softmax is rounded to half a step."""
    spec = variant.outputs[0]
    step = spec.scale or (0.0 if variant.precision.startswith("float") else _STEP)
    return max(_SUM_TOLERANCE, 0.5 * step * math.prod(spec.shape))


def refuse_probabilities(probabilities: NDArray[np.float64], tolerance: float = _SUM_TOLERANCE) -> tuple[str, float]:
    """Why an answer is no distribution, in one word, empty when it is one; and its sum."""
    if len(probabilities) <= _FEW:
        numbers = probabilities.tolist()  # quicker than numpy over few
        total, lowest = sum(numbers), min(numbers)
    else:
        total, lowest = float(probabilities.sum()), float(probabilities.min())
    if not math.isfinite(total):
        return "output_not_finite", total
    if abs(total - 1.0) > tolerance or lowest < -1e-6 or total <= 0.0:
        return "output_no_distribution", total
    return "", total


def _limits(channel: Channel, here: ChannelGuard) -> ChannelGuard:
    """What holds of a channel at this place."""
    both = ChannelGuard(
        minimum=channel.minimum if here.minimum is None else here.minimum,
        maximum=channel.maximum if here.maximum is None else here.maximum,
        maximum_rate=channel.maximum_rate if here.maximum_rate is None else here.maximum_rate,
        stuck_after_s=channel.stuck_after_s if here.stuck_after_s is None else here.stuck_after_s,
    )
    if both.minimum is not None and both.maximum is not None and not both.minimum < both.maximum:
        raise ConfigError(f"Channel {channel.name!r}: minimum {both.minimum} is not below maximum {both.maximum}.")
    return both


def _array(values: list[float | None], otherwise: float) -> NDArray[np.float32]:
    return np.asarray([otherwise if value is None else value for value in values], np.float32)
