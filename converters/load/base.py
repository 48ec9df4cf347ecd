"""What a loader promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from converters.load.witness import Witness


class Loaded(Protocol):
    """A model in memory, with one input: several are joined side by side, as channels of one window.

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

    def __hash__(self) -> int:
        """By identity."""

    def choose(self, answer: str, features: str) -> None:
        """Say which output answers and which is handed on as features; called once, before anything else.

        Args:
            answer: Name of an output; empty = the first.
            features: Name of an output, or of a layer where the format can be tapped; empty = of two outputs the
                other one, else none.

        Raises:
            ConversionError: There is no such output, or there are more than two and none was named.
        """

    def answer(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """The float model's answers to ``(n, *input_shape[1:])``, flattened: ``(n, n_answers)``."""

    def features(self, inputs: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """What it hands on beside the answer, ``(n, n_features)``; None where it hands on nothing."""

    def witness(self, inputs: NDArray[np.float32]) -> Witness | None:
        """What the model's first normalising layer saw in training, beside these inputs; None where it has none."""

    def add_head(self, kind: str) -> None:
        """Append ``softmax``, ``pair`` (p to 1-p, p) or ``sigmoid_pair``, so that it answers with a distribution."""

    def as_tensorflow(self) -> Path:
        """A SavedModel with a fixed batch of 1 and outputs ``answer``, ``features``. Raises ConversionError."""

    def as_tflite(self) -> bytes | None:
        """The float TFLite model, where that is what was loaded; else None."""

    def as_onnx(self) -> Any:
        """The float ONNX model (``onnx.ModelProto``) with a fixed batch of 1, answer first. Raises ConversionError."""
