"""Guards: what must hold of a window before a model sees it, and of an answer before anybody believes it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_sdk.contract.manifest import Manifest
from edge_sdk.contract.window import Window

_SUM_TOLERANCE = 0.05  # an int8 softmax of 20 classes may miss 1 by 20 half steps of 1/256


@dataclass(frozen=True, slots=True, eq=False)
class InputGuard:
    """Refuses windows that the model was never meant to see."""

    length: int
    channels: int
    minimum_coverage: float
    minima: NDArray[np.float32]
    maxima: NDArray[np.float32]
    floor: float
    ceiling: float

    @classmethod
    def of(cls, manifest: Manifest) -> InputGuard:
        """The guard that a bundle asks for."""
        lows = [-np.inf if channel.minimum is None else channel.minimum for channel in manifest.channels]
        highs = [np.inf if channel.maximum is None else channel.maximum for channel in manifest.channels]
        return cls(
            length=manifest.windowing.length,
            channels=len(manifest.channels),
            minimum_coverage=manifest.windowing.minimum_coverage,
            minima=np.asarray(lows, np.float32),
            maxima=np.asarray(highs, np.float32),
            floor=max(lows),
            ceiling=min(highs),
        )

    def refuse(self, window: Window) -> str:
        """Why the window must not be used, in one word; empty when it may."""
        samples = window.samples
        if samples.shape != (self.length, self.channels):
            return "shape"
        if window.coverage < self.minimum_coverage:
            return "coverage"
        lowest, highest = float(samples.min()), float(samples.max())  # NaN if there is one
        if not (math.isfinite(lowest) and math.isfinite(highest)):
            return "not_finite"
        if lowest >= self.floor and highest <= self.ceiling:
            return ""  # in everybody's range
        if (samples.min(axis=0) < self.minima).any():
            return "below_range"
        if (samples.max(axis=0) > self.maxima).any():
            return "above_range"
        return ""


def refuse_probabilities(probabilities: NDArray[np.float64]) -> str:
    """Why an answer is no distribution, in one word; empty when it is one."""
    total = float(probabilities.sum())
    if not np.isfinite(total):
        return "output_not_finite"
    if abs(total - 1.0) > _SUM_TOLERANCE or float(probabilities.min()) < -1e-6:
        return "output_no_distribution"
    return ""
