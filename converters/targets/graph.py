"""A graph: a model's operators in the order they run, as far as delegates ask; read from TFLite and from ONNX."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_sdk.base.errors import ConversionError

COMPILED = "edgetpu-custom-op"


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor as an operator sees it.

    Attributes:
        name: Its name in the file.
        shape: Empty for a scalar; an open dimension is -1.
        dtype: numpy name.
        is_constant: Whether its content is in the file.
        bytes: Size of that content.
        n_scales: Quantization scales: 0 = real numbers, 1 = one for all, more = one for each channel (TFLite).
        data: The content of small integer constants (axes, paddings); else None.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    is_constant: bool = False
    bytes: int = 0
    n_scales: int = 0
    data: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator.

    Attributes:
        index: Its place in the order.
        kind: ``CONV_2D`` (TFLite), ``Conv`` (ONNX).
        version: Of the operator (TFLite) or of its operator set (ONNX).
        inputs: What it takes; constants included.
        outputs: What it makes.
        options: Its attributes, under the file format's own names.
        macs: Multiply-accumulates of one run; 0 for what has none.
    """

    index: int
    kind: str
    version: int
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    macs: int = 0

    @property
    def name(self) -> str:
        """Its first output's name: how people find the layer."""
        return self.outputs[0].name if self.outputs else f"#{self.index}"

    @property
    def given(self) -> tuple[Value, ...]:
        """Inputs that are computed, not constant."""
        return tuple(value for value in self.inputs if not value.is_constant)


@dataclass(frozen=True, slots=True)
class Graph:
    """A model's operators.

    Attributes:
        format: ``tflite`` or ``onnx``.
        operators: In the order that they run.
        n_graphs: Sub-graphs in the file (control flow has several).
    """

    format: str
    operators: tuple[Operator, ...]
    n_graphs: int = 1

    @property
    def macs(self) -> int:
        """Of all operators."""
        return sum(operator.macs for operator in self.operators)

    @property
    def weight_bytes(self) -> int:
        """Of all constants, each counted once."""
        sizes = {value.name: value.bytes for operator in self.operators for value in operator.inputs}
        return sum(sizes.values())

    @property
    def is_quantized(self) -> bool:
        """Whether it computes in integers of 8 or 16 bit."""
        kinds = {"int8", "uint8", "int16"}
        return any(value.dtype in kinds for operator in self.operators for value in operator.outputs)

    @property
    def is_compiled(self) -> bool:
        """Whether it was compiled for the Edge TPU already."""
        return any(operator.kind == COMPILED for operator in self.operators)


def read_graph(model: bytes) -> Graph:
    """Read a TFLite or ONNX file.

    Raises:
        ConversionError: It is neither.
    """
    try:
        graph = _read_tflite(model) if model[4:8] == b"TFL3" else _read_onnx(model)
    except ConversionError:
        raise
    except Exception as error:  # flatbuffers and protobuf raise whatever struct and indexing raise
        raise ConversionError(f"The model's graph cannot be read: {type(error).__name__}: {error}") from error
    if not graph.operators:
        raise ConversionError(f"The file ({len(model)} bytes) holds no operators: it is no TFLite or ONNX model.")
    return graph


_TFLITE_TYPES = {
    0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 5: "str", 6: "bool", 7: "int16", 8: "complex64",
    9: "int8", 10: "float64", 15: "uint32", 16: "uint16", 17: "int4",
}  # fmt: skip


def _read_tflite(model: bytes) -> Graph:
    from ai_edge_litert import schema_py_generated as schema

    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    activations = {code: name for name, code in vars(schema.ActivationFunctionType).items() if isinstance(code, int)}
    tree: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    graph = tree.subgraphs[0]

    def value(index: int) -> Value:
        tensor = graph.tensors[index]
        content = tree.buffers[tensor.buffer].data
        size = 0 if content is None else len(content)
        shape = [] if tensor.shape is None else [int(n) for n in tensor.shape]
        if tensor.shapeSignature is not None and len(tensor.shapeSignature) == len(shape):
            # An open batch is run as the 1 that it is allocated with; any other open dimension is open.
            shape[1:] = [int(n) for n in tensor.shapeSignature[1:]]
        dtype = _TFLITE_TYPES.get(tensor.type, f"type{tensor.type}")
        data = None
        if 0 < size <= 256 and dtype in {"int32", "int64"}:
            data = tuple(int(n) for n in np.frombuffer(bytes(content), dtype))
        name = tensor.name.decode("utf-8", "replace") if tensor.name else f"tensor {index}"
        quantization = tensor.quantization
        n_scales = 0 if quantization is None or quantization.scale is None else len(quantization.scale)
        return Value(name, tuple(shape), dtype, size > 0, size, n_scales, data)

    operators = []
    for index, operator in enumerate(graph.operators):
        code = tree.operatorCodes[operator.opcodeIndex]
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        kind = code.customCode.decode() if code.customCode else names.get(number, f"BUILTIN_{number}")
        options = dict(vars(operator.builtinOptions)) if operator.builtinOptions is not None else {}
        if "fusedActivationFunction" in options:
            options["fusedActivationFunction"] = activations.get(options["fusedActivationFunction"], "?")
        inputs = tuple(value(i) for i in operator.inputs if i >= 0)
        outputs = tuple(value(i) for i in operator.outputs)
        macs = _tflite_macs(kind, inputs, outputs)
        operators.append(Operator(index, kind, code.version, inputs, outputs, options, macs))
    return Graph("tflite", tuple(operators), len(tree.subgraphs))


def _tflite_macs(kind: str, inputs: tuple[Value, ...], outputs: tuple[Value, ...]) -> int:
    if not outputs or len(inputs) < 2:
        return 0
    out, weights = outputs[0].shape, inputs[1].shape
    if kind == "CONV_2D":
        return abs(prod(out)) * prod(weights[1:])
    if kind == "DEPTHWISE_CONV_2D":
        return abs(prod(out)) * prod(weights[1:3])
    if kind == "FULLY_CONNECTED":
        return abs(prod(out)) * weights[-1]
    if kind == "TRANSPOSE_CONV" and len(inputs) > 2:
        return abs(prod(inputs[2].shape)) * prod(weights[:3])
    return 0


def _read_onnx(model: bytes) -> Graph:
    import onnx

    tree: Any = onnx.shape_inference.infer_shapes(onnx.load_from_string(model))
    graph = tree.graph
    opsets = {entry.domain: entry.version for entry in tree.opset_import}
    known: dict[str, Value] = {}
    for tensor in graph.initializer:
        known[tensor.name] = _constant(tensor.name, onnx.numpy_helper.to_array(tensor))
    for info in (*graph.input, *graph.value_info, *graph.output):
        kind = info.type.tensor_type
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)).name if kind.elem_type else "float32"
        shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim)
        known.setdefault(info.name, Value(info.name, shape, dtype))
    operators: list[Operator] = []
    for node in graph.node:
        options = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        if node.op_type == "Constant":
            content = onnx.numpy_helper.to_array(options["value"]) if "value" in options else np.zeros(1)
            known[node.output[0]] = _constant(node.output[0], content)
            continue
        inputs = tuple(known.get(name, Value(name, (), "float32")) for name in node.input if name)
        outputs = tuple(known.get(name, Value(name, (), "float32")) for name in node.output)
        kind_name = node.op_type if node.domain in {"", "ai.onnx"} else f"{node.domain}:{node.op_type}"
        if node.op_type == "DequantizeLinear" and inputs and inputs[0].is_constant:
            known[node.output[0]] = Value(node.output[0], inputs[0].shape, "float32", True, inputs[0].bytes)
        macs = _onnx_macs(node.op_type, inputs, outputs)
        version = opsets.get(node.domain, 0)
        operators.append(Operator(len(operators), kind_name, version, inputs, outputs, options, macs))
    return Graph("onnx", tuple(operators))


def _constant(name: str, content: NDArray[Any]) -> Value:
    small = content.size <= 64 and content.dtype.kind in "iu"
    data = tuple(int(n) for n in content.reshape(-1)) if small else None
    return Value(name, tuple(content.shape), content.dtype.name, True, content.nbytes, data=data)


def _onnx_macs(kind: str, inputs: tuple[Value, ...], outputs: tuple[Value, ...]) -> int:
    if not outputs or len(inputs) < 2:
        return 0
    out = [max(n, 1) for n in outputs[0].shape]
    if kind == "Conv":
        return prod(out) * prod(inputs[1].shape[1:])
    if kind in {"MatMul", "Gemm"} and inputs[0].shape:
        return prod(out) * max(inputs[0].shape[-1], 1)
    return 0
