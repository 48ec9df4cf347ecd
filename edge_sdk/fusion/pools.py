"""Opinion pools: the log-opinion pool and the weighted mean, for classes and for estimates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sdk.base.errors import ConfigError
from edge_sdk.contract.prediction import Prediction
from edge_sdk.fusion.base import Fused, Task
from edge_sdk.fusion.shares import Share, Shares, estimates, fresh, stacked

_BOTH: frozenset[Task] = frozenset(("classification", "regression"))


def log_opinion_pool(
    probabilities: NDArray[np.float64], weights: NDArray[np.float64], *, floor: float = 1e-4
) -> NDArray[np.float64]:
    """Fuse ``(n_models, n_classes)`` into ``(n_classes,)``: the normalised weighted product (Genest & Zidek 1986).

    Args:
        probabilities: One row per model.
        weights: float64 ``(n_models,)``. A sum of 1 is the geometric mean; n_models ones are Bayes' product.
        floor: Probabilities below it are lifted to it, so that one confident zero cannot veto.
    """
    log_p = np.maximum(probabilities, floor)
    np.log(log_p, out=log_p)
    pooled: NDArray[np.float64] = weights.dot(log_p)
    pooled -= pooled[pooled.argmax()]  # over few, a third of the time of max()
    np.exp(pooled, out=pooled)
    pooled /= np.add.reduce(pooled)
    return pooled


class LogOpinionPool:
    """Normalised weighted product: sharper than a mean; agrees with Bayes' rule where contributors are independent.

    Estimates are pooled as Gaussians, which is inverse-variance weighting; where a contributor states no deviation,
    the weights alone count.
    """

    name = "log_opinion_pool"
    tasks: ClassVar[frozenset[Task]] = _BOTH

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Options of the pool.

        Attributes:
            weights: By model name; who is not named weighs 1.
            min_contributors: With fewer than this there is no answer.
            floor: Probabilities below it are lifted to it.
            temper: How much the contributors say the same thing, 0 to 1: the product is raised to the power
                n^(1 - temper) over its geometric mean. 1 = the geometric mean, never over-confident;
                0 = the full product, right only if they err independently.
        """

        weights: dict[str, float] = {}
        min_contributors: int = 1
        floor: float = 1e-4
        temper: float = 1.0

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or self.Options()
        if not 0 < self.options.floor < 0.5 or not 0 <= self.options.temper <= 1:
            raise ConfigError(
                f"{self.name} has floor {self.options.floor} and temper {self.options.temper}; "
                "wanted are 0 < floor < 0.5 and 0 <= temper <= 1."
            )
        self._shares = Shares(self.options.weights)

    def fuse(self, predictions: Sequence[Prediction]) -> Fused | None:
        """Fuse the FRESH ones; None with fewer than `min_contributors`."""
        counted = fresh(predictions, self.options.min_contributors)
        if not counted:
            return None
        names = tuple([one.model for one in counted])
        if counted[0].probabilities is not None:
            return (
                self._alone(names, counted[0].probabilities)
                if len(counted) == 1
                else self.pool(names, stacked(counted))
            )
        share = self._shares.of(names)
        return None if share is None else self._estimate(counted, share, len(counted) ** (1.0 - self.options.temper))

    def least(self) -> int:
        """Fewest contributors that give an answer."""
        return self.options.min_contributors

    def pool(self, names: tuple[str, ...], matrix: NDArray[np.float64]) -> Fused | None:
        """Fuse FRESH opinions ``(n_models, n_classes)``; None when the contributors weigh nothing."""
        share = self._shares.of(names)
        if share is None:
            return None
        power = len(names) ** (1.0 - self.options.temper)
        weights = share.array if power == 1.0 else share.array * power
        pooled = log_opinion_pool(matrix, weights, floor=self.options.floor)
        return Fused(probabilities=pooled, weights=share.by_name)

    def _alone(self, names: tuple[str, ...], said: NDArray[np.float64]) -> Fused | None:
        """What the pool comes to for one contributor: no logarithm is needed to take it back."""
        share = self._shares.of(names)
        if share is None:
            return None
        lifted = np.maximum(said, self.options.floor)
        lifted /= np.add.reduce(lifted)
        return Fused(lifted, weights=share.by_name)

    def _estimate(self, counted: Sequence[Prediction], share: Share, power: float) -> Fused:
        values, stds = estimates(counted)
        if stds is None:
            return Fused(value=float(share.array @ values), weights=share.by_name)
        precisions = share.array / stds**2
        total = float(precisions.sum())
        return Fused(
            value=float(precisions @ values / total),
            std=1.0 / math.sqrt(power * total),
            weights=dict(zip(share.by_name, (precisions / total).tolist(), strict=True)),
        )


class WeightedMean:
    """Linear opinion pool: a mixture; robust against one confident fool, and under-confident by nature.

    The deviation of a pooled estimate is the mixture's: it grows where contributors disagree.
    """

    name = "weighted_mean"
    tasks: ClassVar[frozenset[Task]] = _BOTH

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Options of the mean.

        Attributes:
            weights: By model name; who is not named weighs 1.
            min_contributors: With fewer than this there is no answer.
        """

        weights: dict[str, float] = {}
        min_contributors: int = 1

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or self.Options()
        self._shares = Shares(self.options.weights)

    def fuse(self, predictions: Sequence[Prediction]) -> Fused | None:
        """Fuse the FRESH ones; None with fewer than `min_contributors`."""
        counted = fresh(predictions, self.options.min_contributors)
        if not counted:
            return None
        names = tuple([one.model for one in counted])
        if counted[0].probabilities is not None:
            return self.pool(names, stacked(counted))
        share = self._shares.of(names)
        if share is None:
            return None
        values, stds = estimates(counted)
        mean = float(share.array @ values)
        if stds is None:
            return Fused(value=mean, weights=share.by_name)
        variance = float(share.array @ (stds**2 + (values - mean) ** 2))
        return Fused(value=mean, std=math.sqrt(variance), weights=share.by_name)

    def least(self) -> int:
        """Fewest contributors that give an answer."""
        return self.options.min_contributors

    def pool(self, names: tuple[str, ...], matrix: NDArray[np.float64]) -> Fused | None:
        """Fuse FRESH opinions ``(n_models, n_classes)``; None when the contributors weigh nothing."""
        share = self._shares.of(names)
        if share is None:
            return None
        pooled = share.array @ matrix
        return Fused(probabilities=pooled / pooled.sum(), weights=share.by_name)
