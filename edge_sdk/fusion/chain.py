"""The chain: calibrate each contributor, fuse, smooth over time, state a coverage; what a fusion file becomes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sdk.base import plugins
from edge_sdk.base.errors import ConfigError
from edge_sdk.contract.prediction import ContributorState, Prediction
from edge_sdk.fusion.base import Fused, Fuser, Pool, Task
from edge_sdk.fusion.shares import fresh, stacked

GROUP = "edge_sdk.fusers"
_LONG_S = 600.0
_LEAST = 1e-12
_MAX_CACHED = 256


class Smoothing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Memory over time for classes: a forward filter (Baum & Petrie 1966), and hysteresis.

    Attributes:
        dwell_s: Mean time that the truth stays what it is, seconds; 0 = no filter.
        evidence: Power of each moment's probabilities, 0 to 1: overlapping windows say the same thing again.
        hysteresis: Factor by which another label must beat the present one, minus 1; 0 = none.
    """

    dwell_s: float = 0.0
    evidence: float = 0.5
    hysteresis: float = 0.0


class Conformal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sets and intervals that hold the truth in a stated share of cases (split conformal, Vovk 2005; Lei 2018).

    Attributes:
        coverage: The stated share.
        threshold: Classes with at least this probability belong to the set.
        radius: Half-width of the interval: in deviations where `scaled`, else in the estimate's unit.
        scaled: Whether `radius` counts in deviations.
        without: Threshold or radius for when a set is missing: names joined by ``+``, sorted; where a set is not
            named, the widest of all counts.
    """

    coverage: float = 0.9
    threshold: float | None = None
    radius: float | None = None
    scaled: bool = False
    without: dict[str, float] = {}


class Chain:
    """A fuser with what stands around it. It remembers when it smooths, and so belongs to one stream.

    Args:
        method: Name of the fuser.
        options: Its options.
        temperatures: By model name: its log-probabilities are divided by it (Guo et al. 2017), its `std` multiplied.
        smoothing: Memory over time.
        conformal: Sets and intervals.

    Raises:
        PluginError: No fuser has that name.
        ConfigError: Its options cannot be.
    """

    def __init__(
        self,
        method: str,
        options: dict[str, Any] | None = None,
        *,
        temperatures: dict[str, float] | None = None,
        smoothing: Smoothing | None = None,
        conformal: Conformal | None = None,
    ) -> None:
        self.inner = open_fuser(method, options or {})
        self.name = self.inner.name
        self.tasks: frozenset[Task] = self.inner.tasks
        self._temperatures = {name: given for name, given in (temperatures or {}).items() if given != 1.0}
        if any(not 0 < given < math.inf for given in self._temperatures.values()):
            raise ConfigError(f"Temperatures are {self._temperatures}; wanted are numbers above 0.")
        self._smoother = _Smoother(smoothing) if smoothing and (smoothing.dwell_s or smoothing.hysteresis) else None
        self._conformal = conformal
        self._pool = self.inner if isinstance(self.inner, Pool) else None
        self._powers: dict[tuple[str, ...], NDArray[np.float64]] = {}

    def fuse(self, predictions: Sequence[Prediction]) -> Fused | None:
        """Calibrate, fuse, smooth, state a coverage."""
        fused = self._fused(predictions) if self._temperatures else self.inner.fuse(predictions)
        if fused is None:
            return None
        if self._smoother is not None and fused.probabilities is not None:
            fused = self._smoother.smooth(fused, max(one.end_ns for one in predictions))
        return fused if self._conformal is None else _stated(fused, self._conformal, predictions)

    def _fused(self, predictions: Sequence[Prediction]) -> Fused | None:
        """Fuse calibrated predictions: as one matrix where the fuser can take it."""
        if self._pool is None or not any(one.probabilities is not None for one in predictions):
            return self.inner.fuse([self._calibrated(one) for one in predictions])
        counted = fresh(predictions, self._pool.least())
        if not counted:
            return None
        names = tuple([one.model for one in counted])
        powers = self._powers.get(names)
        if powers is None:
            if len(self._powers) >= _MAX_CACHED:
                self._powers.clear()
            given = [1.0 / self._temperatures.get(name, 1.0) for name in names]
            powers = self._powers[names] = np.array(given)[:, None]
        matrix = stacked(counted)
        np.maximum(matrix, _LEAST, out=matrix)
        np.power(matrix, powers, out=matrix)
        matrix /= matrix.sum(axis=1, keepdims=True)
        return self._pool.pool(names, matrix)

    def _calibrated(self, one: Prediction) -> Prediction:
        temperature = self._temperatures.get(one.model)
        if temperature is None or one.state is not ContributorState.FRESH:
            return one
        return Prediction(
            one.model,
            one.start_ns,
            one.end_ns,
            probabilities=None if one.probabilities is None else tempered(one.probabilities, temperature),
            value=one.value,
            std=None if one.std is None else one.std * temperature,
            features=one.features,
            observed_ns=one.observed_ns,
            clock=one.clock,
        )


def open_fuser(method: str, options: dict[str, Any]) -> Fuser:
    """Make a fuser from its name and options as a file or configuration gives them.

    Raises:
        PluginError: No fuser has that name.
        ConfigError: Its options cannot be; the message names the field.
    """
    kind = plugins.load(GROUP, method)
    try:
        fuser: Fuser = kind(msgspec.convert(options, kind.Options))
    except msgspec.ValidationError as error:
        raise ConfigError(f"Options of fuser {method!r}: {error}.") from error
    return fuser


def tempered(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Divide log-probabilities by a temperature, over the last axis."""
    raised = np.maximum(probabilities, _LEAST) ** (1.0 / temperature)
    out: NDArray[np.float64] = raised / raised.sum(axis=-1, keepdims=True)
    return out


class _Smoother:
    """Belief over classes that is carried from moment to moment."""

    def __init__(self, options: Smoothing) -> None:
        if options.dwell_s < 0 or not 0 < options.evidence <= 1 or options.hysteresis < 0:
            raise ConfigError(f"Smoothing is {options}; wanted are dwell_s >= 0, 0 < evidence <= 1, hysteresis >= 0.")
        self._options = options
        self._before: NDArray[np.float64] | None = None  # belief before the last moment
        self._belief: NDArray[np.float64] | None = None
        self._at_ns = self._before_ns = 0

    def smooth(self, fused: Fused, t_ns: int) -> Fused:
        said = fused.probabilities
        assert said is not None
        if t_ns > self._at_ns:
            self._before, self._before_ns = self._belief, self._at_ns
        before = self._before
        if before is not None and (len(before) != len(said) or t_ns < self._before_ns):
            before = None  # time was set back
        belief = said.copy()
        if before is not None:
            held = int(before.argmax())
            if self._options.dwell_s:
                passed_s = (t_ns - self._before_ns) * 1e-9
                stay = math.exp(-passed_s / self._options.dwell_s) if passed_s < _LONG_S else 0.0
                moved = stay * before + (1.0 - stay) / len(before)
                belief = moved * said**self._options.evidence
            belief[held] *= 1.0 + self._options.hysteresis
            belief /= belief.sum()
        self._belief, self._at_ns = belief, t_ns
        return Fused(
            probabilities=belief, interval=fused.interval, set=fused.set, weights=fused.weights, flags=fused.flags
        )


def missing_of(predictions: Sequence[Prediction]) -> str:
    """Names of who does not count, sorted and joined by ``+``."""
    return "+".join(sorted(one.model for one in predictions if one.state is not ContributorState.FRESH))


def _stated(fused: Fused, conformal: Conformal, predictions: Sequence[Prediction]) -> Fused:
    missing = missing_of(predictions)
    if fused.probabilities is not None:
        if conformal.threshold is None:
            return fused
        among = conformal.without.get(missing)
        if among is None:
            among = min([conformal.threshold, *conformal.without.values()]) if missing else conformal.threshold
        best = int(fused.probabilities.argmax())
        chosen = tuple(index for index, p in enumerate(fused.probabilities.tolist()) if p >= among or index == best)
        return Fused(probabilities=fused.probabilities, set=chosen, weights=fused.weights, flags=fused.flags)
    if conformal.radius is None or fused.value is None or (conformal.scaled and fused.std is None):
        return fused
    radius = conformal.without.get(missing)
    if radius is None:
        radius = max([conformal.radius, *conformal.without.values()]) if missing else conformal.radius
    if conformal.scaled:
        assert fused.std is not None
        radius *= fused.std
    return Fused(
        value=fused.value,
        std=fused.std,
        interval=(fused.value - radius, fused.value + radius),
        weights=fused.weights,
        flags=fused.flags,
    )
