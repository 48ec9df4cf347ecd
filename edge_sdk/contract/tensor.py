"""What a model's input or output looks like, quantization included."""

from __future__ import annotations

import msgspec


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
