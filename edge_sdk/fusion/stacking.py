"""Stacking: a small learned network over what the contributors say, their features, and who is missing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sdk.base.errors import ConfigError, TensorMismatchError
from edge_sdk.contract.prediction import ContributorState, Prediction
from edge_sdk.fusion.base import Fused, Task
from edge_sdk.fusion.pools import WeightedMean
from edge_sdk.fusion.shares import fresh

_FLOOR = 1e-4
_MOST = 4.0  # of log-deviations: what training bounds them to


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One contributor's place in the input, in order.

    Its columns are: log-probabilities (classes) or the estimate (regression), then its features, each standardised;
    last a 1 that says that it is there. All are 0 where it is not.

    Attributes:
        model: Its name.
        classes: How many probabilities it gives; 0 = an estimate.
        features: How many features it hands on.
        centre: Mean of each column but the last.
        scale: Deviation of each column but the last.
    """

    model: str
    classes: int = 0
    features: int = 0
    centre: tuple[float, ...]
    scale: tuple[float, ...]

    @property
    def width(self) -> int:
        """Columns that it takes."""
        return (self.classes or 1) + self.features + 1


class Layer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One dense layer: ``activation(x @ weights + bias)``.

    Attributes:
        weights: ``(n_in, n_out)``.
        bias: ``(n_out,)``.
        activation: ``relu`` or ``linear``.
    """

    weights: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]
    activation: Literal["relu", "linear"] = "linear"


class Stacking:
    """Learned fusion that was trained with contributors missing, so that absence is a case it has seen.

    Before it is fitted it is the plain mean. Learned weights alone are not robust: where fewer contributors are
    there than it was trained with, a missing one can be replaced by nothing, never by zero or mean alone; its mask
    says so.
    """

    name = "stacking"
    tasks: ClassVar[frozenset[Task]] = frozenset(("classification", "regression"))

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Options of the stack.

        Attributes:
            parts: The contributors that it was fitted with, in the order of its input.
            layers: The network; the last layer gives logits (classes), or the standardised estimate and, where it
                has two units, the logarithm of its deviation (regression).
            centre: Mean of the target (regression).
            scale: Deviation of the target (regression).
            root: The network takes the roots of estimates and gives the root of the target (regression).
            minimum: Estimates are not less (regression).
            lone_word: With one contributor there, its own word is the answer, and the network only says how sure it
                is: what is learned of several together is then of no use.
            min_contributors: With fewer than this there is no answer.
        """

        parts: tuple[Part, ...] = ()
        layers: tuple[Layer, ...] = ()
        centre: float = 0.0
        scale: float = 1.0
        root: bool = False
        minimum: float | None = None
        lone_word: bool = False
        min_contributors: int = 1

    def __init__(self, options: Options | None = None) -> None:
        self.options = given = options or self.Options()
        self._plain = WeightedMean(WeightedMean.Options(min_contributors=given.min_contributors))
        self._layers = [
            (np.array(layer.weights, dtype=np.float64), np.array(layer.bias), layer.activation)
            for layer in given.layers
        ]
        self._columns: dict[str, tuple[int, Part, NDArray[np.float64], NDArray[np.float64]]] = {}
        width = 0
        for part in given.parts:
            if len(part.centre) != part.width - 1 or len(part.scale) != part.width - 1 or min(part.scale) <= 0:
                raise ConfigError(
                    f"Part {part.model!r} of the stack wants {part.width - 1} centres and scales above 0."
                )
            self._columns[part.model] = (width, part, np.array(part.centre), np.array(part.scale))
            width += part.width
        self._width = width
        for weights, bias, _ in self._layers:
            if weights.ndim != 2 or weights.shape[0] != width or bias.shape != (weights.shape[1],):
                raise ConfigError(f"A layer of the stack has weights {weights.shape}; wanted are {width} rows.")
            width = weights.shape[1]

    def fuse(self, predictions: Sequence[Prediction]) -> Fused | None:
        """Fuse the FRESH ones; None with fewer than `min_contributors`."""
        if not self._layers:
            return self._plain.fuse(predictions)
        counted = [one for one in fresh(predictions) if one.model in self._columns]
        if not counted or len(counted) < self.options.min_contributors:
            return None
        x = self.inputs(counted)
        first = np.abs(self._layers[0][0]).sum(axis=1) * np.abs(x)
        taken = np.array([first[low : low + part.width].sum() for low, part, _, _ in map(self._place, counted)])
        shares = taken / taken.sum() if taken.sum() > 0 else np.full(len(counted), 1 / len(counted))
        weights = dict(zip((one.model for one in counted), shares.tolist(), strict=True))
        y = self.outputs(x)
        lone = counted[0] if len(counted) == 1 and self.options.lone_word else None
        if counted[0].probabilities is not None:
            p = np.exp(y - y.max()) if lone is None else counted[0].probabilities
            return Fused(probabilities=p / p.sum(), weights=weights)
        value, std = self._estimate(y, None if lone is None else lone.value)
        return Fused(value=value, std=std, weights=weights)

    def _estimate(self, y: NDArray[np.float64], word: float | None) -> tuple[float, float | None]:
        """The network's answer in the target's unit, or a lone word; and its deviation where it states one."""
        given = self.options
        value = float(y[0]) * given.scale + given.centre
        if word is not None:
            value = math.sqrt(max(word, 0.0)) if given.root else word
        std = math.exp(float(np.clip(y[1], -_MOST, _MOST))) * given.scale if len(y) > 1 else None
        if given.root:
            value = max(value, 0.0)
            if std is not None:
                std = math.sqrt(4 * value**2 * std**2 + 2 * std**4)  # of the square of a Gaussian
            value = value**2
        return value if given.minimum is None else max(value, given.minimum), std

    def inputs(self, counted: Sequence[Prediction]) -> NDArray[np.float64]:
        """What the network sees, float64 ``(width,)``.

        Raises:
            TensorMismatchError: A contributor has other outputs than when the stack was fitted.
        """
        x = np.zeros(self._width)
        for one in counted:
            low, part, centre, scale = self._place(one)
            said = columns(one, root=self.options.root)
            if len(said) != part.width - 1:
                raise TensorMismatchError(one.model, want=f"{part.width - 1} outputs", got=f"{len(said)} outputs")
            x[low : low + part.width - 1] = (said - centre) / scale
            x[low + part.width - 1] = 1.0
        return x

    def outputs(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Run the network on ``(width,)`` or ``(n, width)``."""
        for weights, bias, activation in self._layers:
            x = x @ weights + bias
            if activation == "relu":
                x = np.maximum(x, 0.0)
        return x

    def _place(self, one: Prediction) -> tuple[int, Part, NDArray[np.float64], NDArray[np.float64]]:
        return self._columns[one.model]


def columns(one: Prediction, *, root: bool = False) -> NDArray[np.float64]:
    """What a contributor puts into the stack before standardisation: its word (or its root), then its features."""
    assert one.state is ContributorState.FRESH
    said: NDArray[np.float64]
    if one.probabilities is not None:
        said = np.log(np.maximum(one.probabilities, _FLOOR))
    else:
        assert one.value is not None
        said = np.array([math.sqrt(max(one.value, 0.0)) if root else one.value], dtype=np.float64)
    return said if one.features is None else np.concatenate([said, one.features])
