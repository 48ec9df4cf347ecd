"""What a fuser promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sdk.contract.prediction import Prediction

Task = Literal["classification", "regression"]


class Fused(msgspec.Struct, frozen=True, eq=False):
    """What several predictions say together.

    Attributes:
        probabilities: float64 ``(n_classes,)``, sums to 1; None for regression.
        value: The estimate (regression).
        std: Its standard deviation.
        interval: Lower and upper end, where the fuser can state a coverage.
        set: Indices of the classes in the conformal set; empty where the fuser states none.
        weights: Weight of each contributor that counted, by model name; they sum to 1.
        flags: Short words worth a person's eye.
    """

    probabilities: NDArray[np.float64] | None = None
    value: float | None = None
    std: float | None = None
    interval: tuple[float, float] | None = None
    set: tuple[int, ...] = ()
    weights: Mapping[str, float] = {}
    flags: tuple[str, ...] = ()


class Fuser(Protocol):
    """A pure function of predictions, one per contributor, their states included.

    A plug-in of ``edge_sdk.fusers`` is a class with ``Options`` (a strict msgspec struct) and
    ``__init__(self, options: Options)``; one that was never fitted works with its default options. Laws, kept by
    the conformance suite: the order of predictions does not matter; what is not FRESH changes nothing but the
    weights; probabilities sum to one; fusing the same moment again gives the same.

    Attributes:
        name: What a result's `method` says.
        tasks: What it can fuse: ``classification``, ``regression``.
    """

    name: str

    @property
    def tasks(self) -> frozenset[Task]:
        """What it can fuse."""

    def fuse(self, predictions: Sequence[Prediction]) -> Fused | None:
        """Fuse those that are FRESH; None when there is no answer (too few of them)."""


@runtime_checkable
class Pool(Protocol):
    """A fuser that can also be handed the opinions as one matrix: what calibration in front of it makes."""

    def least(self) -> int:
        """Fewest contributors that give an answer."""

    def pool(self, names: tuple[str, ...], matrix: NDArray[np.float64]) -> Fused | None:
        """Fuse FRESH opinions ``(n_models, n_classes)``; None when the contributors weigh nothing."""
