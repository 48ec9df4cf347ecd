"""What a model's input or output looks like, quantization included."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

_LIMITS = {
    name: (np.float32(np.iinfo(name).min), np.float32(np.iinfo(name).max)) for name in ("int8", "uint8", "int16")
}


class TensorSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One input or output of a model.

    Attributes:
        name: Name in the model file.
        shape: Every dimension fixed, the batch of 1 included.
        dtype: numpy name: ``float32``, ``int8``, ``uint8``, ``int16`` …
        scale: Quantization scale, real = (q - zero_point) · scale; 0 where the tensor is not quantized.
        zero_point: Quantization zero point.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float = 0.0
    zero_point: int = 0

    @property
    def is_quantized(self) -> bool:
        """Whether values are integers that stand for real numbers."""
        return self.scale != 0.0

    def quantize(self, real: NDArray[np.float32]) -> NDArray[np.generic]:
        """Real numbers to this tensor's dtype: round to nearest, saturate; the shape is kept."""
        if not self.is_quantized:
            return real.astype(self.dtype, copy=False)
        lowest, highest = _LIMITS[self.dtype]
        q = real / np.float32(self.scale)
        np.rint(q, out=q)
        q += self.zero_point
        q.clip(lowest, highest, out=q)  # half the time of np.maximum and np.minimum over an image
        stored: NDArray[np.generic] = q.astype(self.dtype)
        return stored

    def dequantize(self, stored: NDArray[np.generic]) -> NDArray[np.float32]:
        """This tensor's dtype to real numbers, float32; the shape is kept."""
        real = stored.astype(np.float32)
        if self.is_quantized:
            real -= np.float32(self.zero_point)
            real *= np.float32(self.scale)
        return real
