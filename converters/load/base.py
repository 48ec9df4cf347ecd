"""What a loader promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Loaded(Protocol):
    """A model in memory, with one input.

    A plug-in of ``converters.loaders`` is a function ``(path, folder, shapes) -> Loaded`` that raises ConversionError
    when the file is not what its kind says; `folder` is scratch space, `shapes` are dimensions fixed by the user.

    Attributes:
        input_shape: The input, the batch of 1 included; every dimension fixed.
        versions: Libraries that took part.
        notes: What was changed while loading, for the user.
    """

    input_shape: tuple[int, ...]
    versions: dict[str, str]
    notes: list[str]

    def answer(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """The float model's answers to ``(n, *input_shape[1:])``, flattened: ``(n, n_answers)``."""

    def add_head(self, kind: str) -> None:
        """Append ``softmax``, ``pair`` (p to 1-p, p) or ``sigmoid_pair``, so that it answers with a distribution."""

    def as_tensorflow(self) -> Path:
        """A SavedModel with a fixed batch of 1. Raises ConversionError where there is no way."""

    def as_tflite(self) -> bytes | None:
        """The float TFLite model, where that is what was loaded; else None."""

    def as_onnx(self) -> Any:
        """The float ONNX model (``onnx.ModelProto``) with a fixed batch of 1. Raises ConversionError."""
