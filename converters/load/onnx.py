"""Loads float ONNX models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from converters.load.shapes import first_line, fix_shape
from edge_sdk.base.errors import ConversionError


class OnnxModel:
    """A float ONNX model with a fixed batch of 1.

    Attributes:
        input_shape: The input, the batch of 1 included.
        versions: Libraries that took part.
        notes: What was changed while loading.
    """

    def __init__(self, model: Any, input_shape: tuple[int, ...]) -> None:
        self.input_shape = input_shape
        self.versions = {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}
        self.notes: list[str] = []
        self._model = model

    def answer(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """The float model's answers, ``(n, n_answers)``."""
        session = onnxruntime.InferenceSession(self._model.SerializeToString(), providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        answers = [np.asarray(session.run(None, {name: window[None]})[0]).reshape(-1) for window in inputs]
        return np.stack(answers).astype(np.float32)

    def add_head(self, kind: str) -> None:
        """Append what makes it answer with a distribution."""
        graph = self._model.graph
        last = graph.output[0]
        name = last.name + "_distribution"
        helper = onnx.helper
        if kind == "softmax":
            nodes = [helper.make_node("Softmax", [last.name], [name], axis=-1)]
        else:
            graph.initializer.append(onnx.numpy_helper.from_array(np.float32(1.0), last.name + "_one"))
            p = last.name if kind == "pair" else last.name + "_p"
            nodes = [] if kind == "pair" else [helper.make_node("Sigmoid", [last.name], [p])]
            nodes.append(helper.make_node("Sub", [last.name + "_one", p], [last.name + "_rest"]))
            nodes.append(helper.make_node("Concat", [last.name + "_rest", p], [name], axis=-1))
        graph.node.extend(nodes)
        graph.output[0].CopyFrom(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
        self._model = onnx.shape_inference.infer_shapes(self._model)

    def as_tensorflow(self) -> Path:
        """There is no way."""
        raise ConversionError(
            "An ONNX model cannot become TFLite here: the converters that do it cannot be installed beside TensorFlow "
            "2.21. Take --format onnx, or convert from the model that the ONNX file was exported from."
        )

    def as_tflite(self) -> None:
        """Nothing: the source is no TFLite file."""
        return

    def as_onnx(self) -> Any:
        """As it was loaded, shapes fixed."""
        return self._model


def load_onnx(path: Path, folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> OnnxModel:
    """Load a float ONNX file.

    Raises:
        ConversionError: It is none, is quantized already, has several inputs, open dimensions, custom operators or
            NaN weights.
    """
    try:
        model: Any = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf's DecodeError and the checker's errors share no root
        raise ConversionError(f"{path} is no valid ONNX model: {first_line(error)}") from error
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for name, values in weights.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ConversionError(f"{path}: weight {name!r} holds NaN or infinity. Take an older checkpoint.")
    if any(node.op_type in {"QuantizeLinear", "QLinearConv", "QLinearMatMul"} for node in model.graph.node):
        raise ConversionError(f"{path} is quantized already. Give the float model that it came from.")
    if custom := sorted({f"{node.domain}.{node.op_type}" for node in model.graph.node if node.domain not in _DOMAINS}):
        raise ConversionError(f"{path} uses operators that ONNX does not define: {', '.join(custom)}.")
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        raise ConversionError(f"{path} has {len(inputs)} inputs; a bundle's model has one.")
    tensor = inputs[0].type.tensor_type
    if tensor.elem_type != onnx.TensorProto.FLOAT:
        raise ConversionError(f"{path}: input {inputs[0].name!r} is no float32.")
    given = tuple(dim.dim_value or None for dim in tensor.shape.dim)
    fixed = fix_shape(str(path), inputs[0].name, given, shapes)
    for dim, n in zip(tensor.shape.dim, fixed, strict=True):
        dim.dim_value = n
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    try:
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    except onnx.shape_inference.InferenceError as error:
        raise ConversionError(f"{path} does not work with input {fixed}: {first_line(error)}") from error
    return OnnxModel(model, fixed)


_DOMAINS = {"", "ai.onnx", "ai.onnx.ml"}
