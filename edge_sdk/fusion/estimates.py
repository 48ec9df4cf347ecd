"""Fusers of estimates: median and trimmed mean, covariance intersection, Kalman filter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import msgspec
import numpy as np

from edge_sdk.base.errors import ConfigError
from edge_sdk.contract.prediction import Prediction
from edge_sdk.fusion.base import Fused, Task
from edge_sdk.fusion.shares import estimates, fresh

_REGRESSION: frozenset[Task] = frozenset(("regression",))


class TrimmedMean:
    """The mean of what is left when the highest and lowest are cut off; at most trimmed, the median.

    Withstands as many fools as are cut off. The deviation is the larger of the median stated one and of what the
    spread among contributors says (1.4826 · MAD / √n).
    """

    name = "trimmed_mean"
    tasks: ClassVar[frozenset[Task]] = _REGRESSION

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Options of the mean.

        Attributes:
            trim: Share cut off at each end, 0 to 0.5; 0.5 = the median.
            min_contributors: With fewer than this there is no answer.
        """

        trim: float = 0.5
        min_contributors: int = 1

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or self.Options()
        if not 0 <= self.options.trim <= 0.5:
            raise ConfigError(f"{self.name} has trim {self.options.trim}; wanted is 0 to 0.5.")

    def fuse(self, predictions: Sequence[Prediction]) -> Fused | None:
        """Fuse the FRESH ones; None with fewer than `min_contributors`."""
        counted = fresh(predictions, self.options.min_contributors)
        if not counted:
            return None
        values, stds = estimates(counted)
        n = len(values)
        n_cut = min(math.floor(self.options.trim * n), (n - 1) // 2)
        order = np.lexsort((np.array([one.model for one in counted]), values))
        kept = order[n_cut : n - n_cut]
        middle = float(np.median(values))
        spread = 1.4826 * float(np.median(np.abs(values - middle))) / math.sqrt(n)
        return Fused(
            value=float(values[kept].mean()),
            std=None if stds is None else max(float(np.median(stds)), spread),
            weights={one.model: (1 / len(kept) if index in kept else 0.0) for index, one in enumerate(counted)},
        )


class CovarianceIntersection:
    """Never claims more than is known, however the contributors' errors are correlated (Julier & Uhlmann 1997).

    The weights are those of the fast form (Niehsen 2002), in proportion to the precisions: for numbers, the optimum
    would simply be the best contributor.
    """

    name = "covariance_intersection"
    tasks: ClassVar[frozenset[Task]] = _REGRESSION

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Options of the intersection.

        Attributes:
            default_std: Deviation of a contributor that states none; 0 = it does not count.
            min_contributors: With fewer than this there is no answer.
        """

        default_std: float = 0.0
        min_contributors: int = 1

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or self.Options()

    def fuse(self, predictions: Sequence[Prediction]) -> Fused | None:
        """Fuse the FRESH ones that state a deviation; None with fewer than `min_contributors`."""
        counted = [one for one in fresh(predictions) if (one.std or self.options.default_std) > 0]
        if not counted or len(counted) < self.options.min_contributors:
            return None
        values, _ = estimates(counted)
        precisions = 1.0 / np.array([one.std or self.options.default_std for one in counted]) ** 2
        omega = precisions / precisions.sum()
        joint = float(omega @ precisions)
        weights = omega * precisions / joint
        return Fused(
            value=float(weights @ values),
            std=1.0 / math.sqrt(joint),
            weights=dict(zip((one.model for one in counted), weights.tolist(), strict=True)),
        )


class Kalman:
    """A random walk, seen by several contributors of different rates and delays; each word counts once.

    It remembers, and so belongs to one stream. When time was set back, it begins anew.
    """

    name = "kalman"
    tasks: ClassVar[frozenset[Task]] = _REGRESSION

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Options of the filter.

        Attributes:
            drift: Standard deviation of what the truth moves in one second, in the estimate's unit.
            default_std: Deviation of a contributor that states none.
            gate: A word further off than so many deviations is not believed; 0 = all are.
            min_contributors: With fewer FRESH ones than this there is no answer.
        """

        drift: float = 1.0
        default_std: float = 1.0
        gate: float = 0.0
        min_contributors: int = 1

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or self.Options()
        if not self.options.drift >= 0 or not self.options.default_std > 0:
            raise ConfigError(f"{self.name} wants drift >= 0 and default_std > 0, given is {self.options}.")
        self._value, self._variance, self._at_ns = 0.0, math.inf, 0
        self._taken_ns: dict[str, int] = {}
        self._weights: dict[str, float] = {}

    def fuse(self, predictions: Sequence[Prediction]) -> Fused | None:
        """Take in what is new among the FRESH ones; None with fewer of them than `min_contributors`."""
        counted = sorted(fresh(predictions, self.options.min_contributors), key=lambda one: (one.end_ns, one.model))
        if not counted:
            return None
        estimates(counted)
        now_ns = counted[-1].end_ns
        if now_ns < self._at_ns:
            self._forget()
        new = [one for one in counted if one.end_ns > self._taken_ns.get(one.model, -1)]
        flags: tuple[str, ...] = ()
        gains = dict.fromkeys((one.model for one in counted), 0.0)
        for one in new:
            assert one.value is not None
            self._taken_ns[one.model] = one.end_ns
            variance = (one.std or self.options.default_std) ** 2
            if math.isinf(self._variance):
                self._value, self._variance, self._at_ns, gains[one.model] = one.value, variance, one.end_ns, 1.0
                continue
            late_s = max(0, self._at_ns - one.end_ns) * 1e-9  # an older word counts for less
            self._move(one.end_ns)
            variance += late_s * self.options.drift**2
            surprise = one.value - self._value
            if self.options.gate and surprise**2 > self.options.gate**2 * (self._variance + variance):
                flags = ("outlier",)
                continue
            gain = self._variance / (self._variance + variance)
            self._value += gain * surprise
            self._variance *= 1.0 - gain
            gains = {name: given * (1.0 - gain) for name, given in gains.items()}
            gains[one.model] += gain
        self._move(now_ns)
        if sum(gains.values()) > 0:
            total = sum(gains.values())
            self._weights = {name: given / total for name, given in gains.items()}
        return Fused(value=self._value, std=math.sqrt(self._variance), weights=dict(self._weights), flags=flags)

    def _move(self, to_ns: int) -> None:
        if to_ns > self._at_ns:
            self._variance += (to_ns - self._at_ns) * 1e-9 * self.options.drift**2
            self._at_ns = to_ns

    def _forget(self) -> None:
        self._value, self._variance, self._at_ns = 0.0, math.inf, 0
        self._taken_ns.clear()
        self._weights = {}
