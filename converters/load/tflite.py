"""Loads float TFLite models."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from converters.load.ports import choose_outputs
from converters.load.shapes import first_line, fix_shape
from converters.load.witness import Witness
from edge_sdk.base.errors import ConversionError


class TFLiteModel:
    """A float TFLite model.

    Attributes:
        input_shape: The input, the batch of 1 included.
        versions: Libraries that took part.
        notes: What was changed while loading.
    """

    def __init__(self, path: Path, content: bytes, input_shape: tuple[int, ...]) -> None:
        self.input_shape = input_shape
        self.versions = {"ai-edge-litert": version("ai-edge-litert")}
        self.notes: list[str] = []
        self._path, self._given = path, content
        self._content = content
        names = [detail["name"] for detail in _opened(content).get_output_details()]
        if len(names) > 1:
            self._content = with_outputs(content, names[:1])
        self._names = names

    def choose(self, answer: str, features: str) -> None:
        """Say which output answers, and which is handed on as features."""
        chosen = [name for name in choose_outputs(str(self._path), self._names, answer, features) if name]
        self._content = self._given if chosen == self._names else with_outputs(self._given, chosen)

    def answer(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """The float model's answers, ``(n, n_answers)``."""
        return self._run(inputs)[0]

    def features(self, inputs: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """The features beside the answer, ``(n, n_features)``."""
        return next(iter(self._run(inputs)[1:]), None)

    def _run(self, inputs: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        interpreter = _opened(self._content)
        given = interpreter.get_input_details()[0]["index"]
        outputs = [detail["index"] for detail in interpreter.get_output_details()]
        answers: list[list[NDArray[np.float32]]] = [[] for _ in outputs]
        for window in inputs:
            interpreter.set_tensor(given, window.reshape(self.input_shape))
            interpreter.invoke()
            for index, found in zip(outputs, answers, strict=True):
                found.append(interpreter.get_tensor(index).reshape(-1).astype(np.float32))
        return [np.stack(found) for found in answers]

    def witness(self, inputs: NDArray[np.float32]) -> Witness | None:
        """Nothing: what it learned of its inputs is folded into its weights."""
        return None

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

        from converters.load.onnx import inferred
        from converters.load.settle import settle

        self.versions["tf2onnx"] = tf2onnx.__version__
        try:
            with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
                file.write(self._content)
                file.flush()
                model, _ = tf2onnx.convert.from_tflite(file.name, opset=17)
        except (ValueError, RuntimeError, KeyError) as error:
            raise ConversionError(f"tf2onnx cannot convert the .tflite: {first_line(error)}") from error
        for dim, n in zip(model.graph.input[0].type.tensor_type.shape.dim, self.input_shape, strict=True):
            dim.dim_value = n  # tf2onnx leaves an open batch open
        settle(model)
        return inferred(self._path, model)


def load_tflite(path: Path, folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> TFLiteModel:
    """Load a float ``.tflite``.

    Raises:
        ConversionError: It is none, is quantized or compiled already, or has several inputs.
    """
    content = path.read_bytes()
    if b"edgetpu-custom-op" in content:
        raise ConversionError(f"{path} is compiled for the Edge TPU already. Give the float model that it came from.")
    try:
        interpreter = _opened(content)
    except (ValueError, RuntimeError) as error:
        raise ConversionError(f"{path} is no TFLite model that LiteRT runs: {first_line(error)}") from error
    inputs = interpreter.get_input_details()
    if len(inputs) != 1:
        raise ConversionError(
            f"{path} has {len(inputs)} inputs, a bundle's model has one, and a .tflite is not rebuilt. Convert from "
            "the Keras model: its inputs are joined as channels of one window."
        )
    if inputs[0]["dtype"] is not np.float32 or any(
        detail["dtype"] in {np.int8, np.uint8} for detail in interpreter.get_tensor_details()
    ):
        raise ConversionError(f"{path} is quantized already. Give the float model that it came from.")
    shape = fix_shape(str(path), inputs[0]["name"], tuple(int(n) for n in inputs[0]["shape"]), shapes)
    return TFLiteModel(path, content, shape)


def with_outputs(content: bytes, names: Sequence[str]) -> bytes:
    """The same file, with these outputs in this order; its signatures follow."""
    tree: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    graph = tree.subgraphs[0]
    by_name = {graph.tensors[index].name.decode(): int(index) for index in graph.outputs}
    graph.outputs = [by_name[name] for name in names]
    for signature in tree.signatureDefs or []:
        kept = {int(entry.tensorIndex): entry for entry in signature.outputs}
        signature.outputs = [kept[index] for index in graph.outputs]
    builder = flatbuffers.Builder(len(content))
    builder.Finish(tree.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _opened(content: bytes) -> Any:
    interpreter: Any = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    return interpreter
