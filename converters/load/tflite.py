"""Loads float TFLite models."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from converters.load.shapes import first_line, fix_shape
from edge_sdk.base.errors import ConversionError


class TFLiteModel:
    """A float TFLite model.

    Attributes:
        input_shape: The input, the batch of 1 included.
        versions: Libraries that took part.
        notes: What was changed while loading.
    """

    def __init__(self, path: Path, content: bytes, interpreter: Any, input_shape: tuple[int, ...]) -> None:
        self.input_shape = input_shape
        self.versions = {"ai-edge-litert": version("ai-edge-litert")}
        self.notes: list[str] = []
        self._path, self._content, self._interpreter = path, content, interpreter

    def answer(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """The float model's answers, ``(n, n_answers)``."""
        given = self._interpreter.get_input_details()[0]["index"]
        wanted = self._interpreter.get_output_details()[0]["index"]
        answers = []
        for window in inputs:
            self._interpreter.set_tensor(given, window.reshape(self.input_shape))
            self._interpreter.invoke()
            answers.append(self._interpreter.get_tensor(wanted).reshape(-1).astype(np.float32))
        return np.stack(answers)

    def add_head(self, kind: str) -> None:
        """A finished TFLite file is not rebuilt."""
        raise ConversionError(
            f"{self._path} answers with no distribution (it lacks a {kind}), and a .tflite is not rebuilt. "
            "Convert from the Keras model."
        )

    def as_tensorflow(self) -> Path:
        """There is no way back."""
        raise ConversionError("A .tflite cannot become a TensorFlow model again. Convert from the Keras model.")

    def as_tflite(self) -> bytes:
        """As it was loaded."""
        return self._content

    def as_onnx(self) -> Any:
        """Through tf2onnx, which reads TFLite as well."""
        import tf2onnx

        self.versions["tf2onnx"] = tf2onnx.__version__
        try:
            model, _ = tf2onnx.convert.from_tflite(str(self._path), opset=17)
        except (ValueError, RuntimeError, KeyError) as error:
            raise ConversionError(f"tf2onnx cannot convert the .tflite: {first_line(error)}") from error
        return model


def load_tflite(path: Path, folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> TFLiteModel:
    """Load a float ``.tflite``.

    Raises:
        ConversionError: It is none, is quantized or compiled already, or has several inputs.
    """
    content = path.read_bytes()
    if b"edgetpu-custom-op" in content:
        raise ConversionError(f"{path} is compiled for the Edge TPU already. Give the float model that it came from.")
    try:
        interpreter: Any = Interpreter(model_content=content)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ConversionError(f"{path} is no TFLite model that LiteRT runs: {first_line(error)}") from error
    inputs = interpreter.get_input_details()
    if len(inputs) != 1:
        raise ConversionError(f"{path} has {len(inputs)} inputs; a bundle's model has one.")
    if inputs[0]["dtype"] is not np.float32 or any(
        detail["dtype"] in {np.int8, np.uint8} for detail in interpreter.get_tensor_details()
    ):
        raise ConversionError(f"{path} is quantized already. Give the float model that it came from.")
    shape = fix_shape(str(path), inputs[0]["name"], tuple(int(n) for n in inputs[0]["shape"]), shapes)
    return TFLiteModel(path, content, interpreter, shape)
