"""Shares: who counts for how much among those who are there, and what they say as arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_sdk.base.errors import ConfigError, TensorMismatchError
from edge_sdk.contract.prediction import ContributorState, Prediction

_FRESH = ContributorState.FRESH
_MAX_CACHED = 256


@dataclass(frozen=True, slots=True, eq=False)
class Share:
    """How much each of some contributors counts.

    Attributes:
        array: float64 ``(n,)``, sums to 1.
        by_name: The same by model name.
    """

    array: NDArray[np.float64]
    by_name: Mapping[str, float]


class Shares:
    """Weights by name, renormalised over whoever is there; each set of names is worked out once.

    Args:
        weights: By model name; who is not named weighs 1.

    Raises:
        ConfigError: A weight is negative or not finite.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        for name, weight in weights.items():
            if not 0 <= weight < math.inf:
                raise ConfigError(f"Weight of {name!r} is {weight}; wanted is a finite number, 0 or more.")
        self._weights = dict(weights)
        self._known: dict[tuple[str, ...], Share | None] = {}

    def of(self, names: tuple[str, ...]) -> Share | None:
        """The shares of these contributors; None when they weigh nothing."""
        try:
            return self._known[names]
        except KeyError:
            if len(self._known) >= _MAX_CACHED:
                self._known.clear()
        raw = np.array([self._weights.get(name, 1.0) for name in names], dtype=np.float64)
        total = raw.sum()
        share = Share(raw / total, dict(zip(names, (raw / total).tolist(), strict=True))) if total > 0 else None
        self._known[names] = share
        return share


def fresh(predictions: Sequence[Prediction], minimum: int = 1) -> list[Prediction]:
    """Those that count: FRESH and with an answer; none at all where they are fewer than `minimum`."""
    counted = [
        one for one in predictions if one.state is _FRESH and (one.probabilities is not None or one.value is not None)
    ]
    return counted if len(counted) >= minimum else []


def stacked(predictions: Sequence[Prediction]) -> NDArray[np.float64]:
    """Their probabilities, float64 ``(n_models, n_classes)``.

    Raises:
        TensorMismatchError: They do not have the same classes.
    """
    try:
        matrix = np.array([one.probabilities for one in predictions], dtype=np.float64)
    except (TypeError, ValueError):
        matrix = np.empty(0)
    if matrix.ndim != 2:
        given = {one.model: None if one.probabilities is None else len(one.probabilities) for one in predictions}
        raise TensorMismatchError("probabilities", want="of one length for all contributors", got=str(given))
    return matrix


def estimates(predictions: Sequence[Prediction]) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Their values, float64 ``(n_models,)``, and deviations; None for these where one states none.

    Raises:
        TensorMismatchError: Some give classes and some give estimates.
    """
    if any(one.value is None for one in predictions):
        raise TensorMismatchError("value", want="a number from all contributors", got="classes from some")
    values = np.array([one.value for one in predictions], dtype=np.float64)
    if any(one.std is None or not one.std > 0 for one in predictions):
        return values, None
    return values, np.array([one.std for one in predictions], dtype=np.float64)
