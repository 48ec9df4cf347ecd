"""The fusion that goes into a merged model, in the words that the station's fusers have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sdk.base.errors import ConversionError, nearest

METHODS = ("log_opinion_pool", "weighted_mean")


class Fusion(msgspec.Struct, frozen=True, kw_only=True):
    """How the members become one; the same words as the station's fusers have.

    Attributes:
        method: ``log_opinion_pool`` or ``weighted_mean``.
        weights: By member; who is not named weighs 1.
        floor: Probabilities below it are lifted to it (log-opinion pool).
        temper: 1 = the geometric mean, 0 = the full product (log-opinion pool).
    """

    method: Literal["log_opinion_pool", "weighted_mean"] = "log_opinion_pool"
    weights: dict[str, float] = {}
    floor: float = 1e-4
    temper: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.floor < 0.5 or not 0 <= self.temper <= 1:
            raise ConversionError(f"floor is {self.floor}, temper {self.temper}; wanted are 0 to 0.5 and 0 to 1.")
        for name, weight in self.weights.items():
            if not 0 <= weight < math.inf:
                raise ConversionError(f"The weight of {name!r} is {weight}; wanted is a finite number, 0 or more.")

    def shares(self, names: Sequence[str]) -> NDArray[np.float64]:
        """Weights of the members, summing to 1.

        Raises:
            ConversionError: One is named that is no member, or all weigh nothing.
        """
        if unknown := sorted(self.weights.keys() - set(names)):
            raise ConversionError(f"{unknown[0]!r} is not among the members. {nearest(unknown[0], names)}")
        raw = np.asarray([self.weights.get(name, 1.0) for name in names], np.float64)
        if not raw.sum() > 0:
            raise ConversionError("The members weigh nothing: give one of them a weight above 0.")
        return np.asarray(raw / raw.sum())
