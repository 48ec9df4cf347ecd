"""A witness: what a model's own normalisation saw in training, beside what it sees of the data at hand."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_sdk.base.errors import CalibrationError

LIMIT = 10.0
ENOUGH = 128


class Witness(NamedTuple):
    """The first normalising layer of a model.

    Attributes:
        layer: Its name.
        trained: What spread of values it saw in training: standard deviation, or width of the range.
        seen: What spread it sees of the data at hand.
        ratio: The typical channel's `seen` over its `trained`; near 1 when the data is what it was trained on.
    """

    layer: str
    trained: float
    seen: float
    ratio: float

    @classmethod
    def of(cls, layer: str, trained: NDArray[Any], values: NDArray[Any]) -> Witness | None:
        """Compare channel by channel; the median decides, so that a dead channel says nothing.

        Args:
            layer: Its name.
            trained: Standard deviation of each channel in training.
            values: What reaches it now, ``(n, …, n_channels)``.

        Returns:
            None where there is nothing to compare.
        """
        trained = np.asarray(trained, np.float64).reshape(-1)
        flat = np.asarray(values, np.float64).reshape(-1, len(trained))
        alive = trained > 0
        if len(flat) < 2 or not alive.any():
            return None
        seen = flat.std(axis=0)[alive]
        ratio = float(np.median(seen / trained[alive]))
        return cls(layer, float(np.median(trained[alive])), float(np.median(seen)), ratio)

    def judge(self, name: str, inputs: NDArray[np.float32]) -> None:
        """Refuse data that is more than ten times too wide or too narrow.

        Args:
            name: Of the data, for the message.
            inputs: What the model was given, after preprocessing.

        Raises:
            CalibrationError: It is not what the model was trained on; both ranges are in the message.
        """
        if 1 / LIMIT <= self.ratio <= LIMIT:
            return
        low, high = float(inputs.min()), float(inputs.max())
        times = (
            f"{self.ratio:.3g} times wider" if self.ratio > 1 else f"{1 / max(self.ratio, 1e-12):.3g} times narrower"
        )
        trained = (
            f"; it was trained on about {low / self.ratio:.3g} to {high / self.ratio:.3g}" if self.ratio > 0 else ""
        )
        raise CalibrationError(
            f"The {name} data runs from {low:.6g} to {high:.6g} after preprocessing{trained}: layer {self.layer!r} "
            f"sees values {times} than in training. Mend `preprocess` in the recipe, or give x in physical units."
        )
