"""The quantizer: real numbers and what a tensor holds for them, one into the other."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_sdk.contract.tensor import TensorSpec


class Quantizer:
    """One tensor's arithmetic, its numbers worked out once: it runs for every window.

    Args:
        spec: The tensor.
        minimum: Real numbers below it are lifted to it: exactly what cutting them off beforehand gives, since
            rounding keeps the order. Of a quantized tensor alone.
        maximum: The same from above.
    """

    def __init__(self, spec: TensorSpec, *, minimum: float = -math.inf, maximum: float = math.inf) -> None:
        self._dtype, self._is_quantized = np.dtype(spec.dtype), spec.is_quantized
        if self._is_quantized:
            limits = np.iinfo(self._dtype)
            self._scale = np.array(spec.scale, np.float32)  # numpy takes an array quicker than a scalar of its own
            self._zero_point = np.array(spec.zero_point, np.float32)
            self._lowest, self._highest = np.array(limits.min, np.float32), np.array(limits.max, np.float32)
            ends = self._steps(np.array([minimum, maximum], np.float32))
            self._lowest, self._highest = np.array(ends[0]), np.array(ends[1])

    def quantize(self, real: NDArray[np.float32]) -> NDArray[np.generic]:
        """Real numbers to the tensor's dtype: round to nearest, saturate; the shape is kept."""
        stored: NDArray[np.generic] = (self._steps(real) if self._is_quantized else real).astype(
            self._dtype, copy=False
        )
        return stored

    def dequantize(self, stored: NDArray[np.generic]) -> NDArray[np.float32]:
        """What the tensor holds to real numbers, a fresh float32; the shape is kept."""
        real = stored.astype(np.float32)
        if self._is_quantized:
            real -= self._zero_point
            real *= self._scale
        return real

    def _steps(self, real: NDArray[np.float32]) -> NDArray[np.float32]:
        steps = real / self._scale
        np.rint(steps, out=steps)
        steps += self._zero_point
        steps.clip(self._lowest, self._highest, out=steps)  # half the time of maximum and minimum over an image
        return steps
