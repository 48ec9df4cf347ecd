"""Level: an amplitude becomes decibels, for what people and microphones hear by ratios."""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sdk.base.errors import BundleFormatError


class Decibel:
    """``20 · log10(samples + floor)``, all channels alike; what is negative counts as silence."""

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """The floor, in the sensor's unit: what silence is taken for, above 0."""

        floor: float

    def __init__(self, options: Options) -> None:
        if not 0 < options.floor < math.inf:
            raise BundleFormatError(f"decibel wants a floor above 0; given is {options.floor}.")
        self.floor = np.float32(options.floor)

    def apply(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Transform ``(…, n_samples, n_channels)``."""
        level = np.maximum(samples, np.float32(0))
        level += self.floor
        np.log10(level, out=level)
        level *= np.float32(20)
        return level
