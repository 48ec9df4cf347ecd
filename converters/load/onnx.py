"""Loads float ONNX models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from converters.load.ports import Port, choose_outputs, join_inputs, told
from converters.load.shapes import first_line, fix_shape
from converters.load.witness import Witness
from edge_sdk.base.errors import ConversionError


class OnnxModel:
    """A float ONNX model with a fixed batch of 1.

    Attributes:
        input_shape: The input, the batch of 1 included.
        versions: Libraries that took part.
        notes: What was changed while loading.
    """

    def __init__(self, path: str, model: Any, input_shape: tuple[int, ...]) -> None:
        self.input_shape = input_shape
        self.versions = {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}
        self.notes: list[str] = []
        self._path, self._model = path, model
        self._given = [output.name for output in model.graph.output]
        self._keep(self._given[:1])

    def choose(self, answer: str, features: str) -> None:
        """Say which output answers, and which output or inner value is handed on as features."""
        inner = {name for node in self._model.graph.node for name in node.output if name}
        self._keep([name for name in choose_outputs(self._path, self._given, answer, features, inner=inner) if name])

    def answer(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """The float model's answers, ``(n, n_answers)``."""
        return self._run(inputs)[0]

    def features(self, inputs: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """The features beside the answer, ``(n, n_features)``."""
        return self._run(inputs)[1] if len(self._model.graph.output) > 1 else None

    def witness(self, inputs: NDArray[np.float32]) -> Witness | None:
        """The first BatchNormalization, or scikit-learn's Scaler, on the way."""
        graph = self._model.graph
        node = next((node for node in graph.node if node.op_type in {"BatchNormalization", "Scaler"}), None)
        weights = {tensor.name: tensor for tensor in graph.initializer}
        if node is None:
            return None
        if node.op_type == "Scaler":
            scale = next(onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == "scale")
            return Witness.of(node.name or "Scaler", 1.0 / np.asarray(scale), self._tapped(node.input[0], inputs))
        if node.input[4] not in weights:
            return None
        variance = onnx.numpy_helper.to_array(weights[node.input[4]])
        values = np.moveaxis(self._tapped(node.input[0], inputs), 1, -1)
        return Witness.of(node.name or node.output[0], np.sqrt(variance), values)

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

    def _run(self, inputs: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        session = onnxruntime.InferenceSession(self._model.SerializeToString(), providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        answers = [session.run(None, {name: window[None]}) for window in inputs]
        return [
            np.stack([np.asarray(each[index]).reshape(-1) for each in answers]).astype(np.float32)
            for index in range(len(answers[0]))
        ]

    def _tapped(self, name: str, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values inside the model, ``(n, …)``."""
        given = self._model.graph.input[0].name
        if name == given:
            return inputs
        model = onnx.ModelProto.FromString(self._model.SerializeToString())
        del model.graph.output[:]
        model.graph.output.append(onnx.ValueInfoProto(name=name))
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return np.concatenate([session.run([name], {given: window[None]})[0] for window in inputs])

    def _keep(self, names: list[str]) -> None:
        """Answer with these values and no others."""
        known = {info.name: info for info in (*self._model.graph.output, *self._model.graph.value_info)}
        helper = onnx.helper
        wanted = [
            known.get(name) or helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names
        ]
        for info in self._model.graph.output:  # an output left out stays known: it may be tapped, or named later
            if info.name not in names:
                self._model.graph.value_info.append(info)
        kept = [onnx.ValueInfoProto.FromString(info.SerializeToString()) for info in wanted]
        inner = [info for info in self._model.graph.value_info if info.name not in names]
        inner = [onnx.ValueInfoProto.FromString(info.SerializeToString()) for info in inner]
        del self._model.graph.output[:], self._model.graph.value_info[:]
        self._model.graph.output.extend(kept)
        self._model.graph.value_info.extend(inner)


def load_onnx(path: Path, folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> OnnxModel:
    """Load a float ONNX file.

    Raises:
        ConversionError: It is none, is quantized already, has inputs that no one window holds, open dimensions, custom
            operators or NaN weights.
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
    notes = numbers_only(path, model)
    inputs = [value for value in model.graph.input if value.name not in weights]
    for given in inputs:
        if given.type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
            raise ConversionError(f"{path}: input {given.name!r} is no float32.")
    shaped = []
    for given in inputs:
        dims = given.type.tensor_type.shape.dim
        fixed = fix_shape(
            str(path), given.name, tuple(dim.dim_value or None for dim in dims), shapes, n_inputs=len(inputs)
        )
        for dim, n in zip(dims, fixed, strict=True):
            dim.dim_value = n
        shaped.append((given.name, fixed))
    window, ports = join_inputs(str(path), shaped)
    if len(ports) > 1:
        _join(model, ports, window)
    loaded = OnnxModel(str(path), inferred(path, model), window)
    loaded.notes += [*notes, *told(ports)]
    return loaded


def inferred(path: Path, model: Any) -> Any:
    """The model with every shape that follows from its fixed inputs.

    Raises:
        ConversionError: It does not work with them.
    """
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    try:
        return onnx.shape_inference.infer_shapes(model, strict_mode=True)
    except onnx.shape_inference.InferenceError as error:
        raise ConversionError(f"{path} does not work with the input as it was fixed: {first_line(error)}") from error


def numbers_only(path: Path, model: Any) -> list[str]:
    """Leave outputs that are no numbers out: a label follows from its probabilities; a map of them is unzipped.

    Returns:
        What was changed, for the user.

    Raises:
        ConversionError: No output is left.
    """
    graph, left_out = model.graph, []
    for node in [node for node in graph.node if node.op_type == "ZipMap"]:
        for output in graph.output:
            if output.name == node.output[0]:
                output.CopyFrom(onnx.helper.make_tensor_value_info(node.input[0], onnx.TensorProto.FLOAT, None))
        graph.node.remove(node)
    for output in list(graph.output):
        if output.type.tensor_type.elem_type in _OTHER_FLOATS:
            name = f"{output.name}_float32"
            graph.node.append(onnx.helper.make_node("Cast", [output.name], [name], to=onnx.TensorProto.FLOAT))
            output.CopyFrom(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
        elif output.type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
            left_out.append(output.name)
            graph.output.remove(output)
    if not graph.output:
        raise ConversionError(
            f"{path} has no output of numbers, only {', '.join(left_out)}. A station wants probabilities or a value: "
            "export the model with them (skl2onnx: predict_proba)."
        )
    return [f"Output {name!r} is no number and is left out: labels follow from probabilities." for name in left_out]


def _join(model: Any, ports: tuple[Port, ...], window: tuple[int, ...]) -> None:
    """Put one window before the inputs, and a slice of it to each."""
    graph, helper = model.graph, onnx.helper
    weights = {tensor.name for tensor in graph.initializer}
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    name = next(name for name in ("window", *(f"window_{i}" for i in range(len(taken) + 1))) if name not in taken)
    kept = [value for value in graph.input if value.name in weights]
    del graph.input[:]
    graph.input.extend([helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, window), *kept])
    nodes = []
    for port in ports:
        axes, starts, ends = [len(window) - 1], [port.begin], [port.end]
        if port.is_last:
            axes, starts, ends = [1, *axes], [window[1] - 1, *starts], [window[1], *ends]
        for what, values in (("starts", starts), ("ends", ends), ("axes", axes), ("shape", port.shape)):
            graph.initializer.append(onnx.numpy_helper.from_array(np.array(values, np.int64), f"{port.name}/{what}"))
        piece = f"{port.name}/piece" if port.is_last else port.name
        nodes.append(
            helper.make_node("Slice", [name, *(f"{port.name}/{x}" for x in ("starts", "ends", "axes"))], [piece])
        )
        if port.is_last:
            nodes.append(helper.make_node("Reshape", [piece, f"{port.name}/shape"], [port.name]))
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])


_DOMAINS = {"", "ai.onnx", "ai.onnx.ml"}
_OTHER_FLOATS = {onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16}
