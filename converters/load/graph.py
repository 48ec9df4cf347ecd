"""A model that TensorFlow can trace: what Keras files and SavedModels have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf2onnx
from numpy.typing import NDArray

from converters.load.settle import settle
from converters.load.witness import Witness
from edge_sdk.base.errors import ConversionError

# One thread: sums in one order, so that the same model gives the same digits each time.
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)

OPSET = 17  # ONNX Runtime 1.12 and newer; JetPack 5's builds included


class GraphModel:
    """A model behind a SavedModel with a fixed batch of 1.

    Attributes:
        input_shape: The input, the batch of 1 included.
        folder: Scratch space.
        versions: Libraries that took part.
        notes: What was changed while loading.
    """

    def __init__(self, input_shape: tuple[int, ...], folder: Path) -> None:
        self.input_shape, self.folder = input_shape, folder
        self.versions: dict[str, str] = {"tensorflow": tf.__version__}
        self.notes: list[str] = []

    def as_tensorflow(self) -> Path:
        """A SavedModel with a fixed batch of 1, and outputs ``answer`` and ``features`` where there are two."""
        raise NotImplementedError

    def witness(self, inputs: NDArray[np.float32]) -> Witness | None:
        """Nothing: what a graph learned of its inputs is folded into its weights."""
        return None

    def as_tflite(self) -> bytes | None:
        """Nothing: the source is no TFLite file."""
        return None

    def as_onnx(self) -> Any:
        """The float ONNX model, traced by tf2onnx."""
        loaded = tf.saved_model.load(str(self.as_tensorflow()))
        function = loaded.signatures["serving_default"]
        [name] = function.structured_input_signature[1] or {"": None}
        traced = tf.function(lambda x: _in_order(function(**{name: x}) if name else function(x)))
        spec = [tf.TensorSpec(self.input_shape, tf.float32, name="input")]
        try:
            model, _ = tf2onnx.convert.from_function(traced, spec, opset=OPSET)
        except (ValueError, RuntimeError, KeyError) as error:
            raise ConversionError(f"tf2onnx cannot convert the model: {error}. Try --format tflite.") from error
        self.versions["tf2onnx"] = tf2onnx.__version__
        settle(model)
        return model


def _in_order(answers: dict[str, Any]) -> list[Any]:
    """The answer, then the features."""
    return [answers[name] for name in sorted(answers)]
