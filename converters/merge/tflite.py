"""One TFLite file out of several: preprocessing of each member, the members, and the fusion arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ai_edge_litert.schema_py_generated as schema
import flatbuffers
import numpy as np
from numpy.typing import NDArray

from converters.merge.plan import LEAST, Member, Plan
from converters.targets.op_versions import tflite_runtimes
from edge_sdk.base.errors import ConversionError
from edge_sdk.contract.manifest import Variant
from edge_sdk.contract.tensor import TensorSpec
from edge_sdk.inference.preprocess import Affine

INPUT, OUTPUT = "window", "fused"
_KINDS = {"float32": schema.TensorType.FLOAT32, "int32": schema.TensorType.INT32}
_DEQUANTIZE_VERSION = {schema.TensorType.UINT8: 1, schema.TensorType.INT8: 2, schema.TensorType.INT16: 3}


def build_tflite(plan: Plan, variants: Sequence[Variant]) -> tuple[bytes, TensorSpec, TensorSpec, dict[str, str]]:
    """Build the file.

    Args:
        plan: What is to be made.
        variants: Which variant of each member.

    Returns:
        The model, its input, its output, and the lowest versions of runtimes that run it.

    Raises:
        ConversionError: A member has several subgraphs or inputs.
    """
    graph = _Graph()
    shape = (1, plan.windowing.length, len(plan.channels))
    window = graph.tensor(INPUT, shape)
    rows = []
    for index, (member, variant) in enumerate(zip(plan.members, variants, strict=True)):
        entry, answer = graph.adopt(member, variant, prefix=f"m{index}/")
        _enter(graph, plan, member, variant, window, entry)
        rows.append(_row(graph, answer, plan.width))
    fused = _fuse(graph, plan, rows)
    model = graph.file([window], [fused])
    return (
        model,
        TensorSpec(name=INPUT, shape=shape, dtype="float32"),
        TensorSpec(name=OUTPUT, shape=(1, plan.width), dtype="float32"),
        tflite_runtimes(model),
    )


class _Graph:
    """A subgraph in the making; tensors are named by their number."""

    def __init__(self) -> None:
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._waiting: list[Any] = []
        self._codes: list[Any] = []
        self._buffers: list[Any] = [schema.BufferT()]

    def tensor(self, name: str, shape: Sequence[int], dtype: str = "float32", buffer: int = 0) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.type, made.buffer = name.encode(), list(shape), _KINDS[dtype], buffer
        self._tensors.append(made)
        return len(self._tensors) - 1

    def constant(self, value: NDArray[Any]) -> int:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)
        self._buffers.append(buffer)
        return self.tensor(f"c{len(self._buffers)}", value.shape, value.dtype.name, len(self._buffers) - 1)

    def real(self, value: NDArray[Any] | np.float32 | float) -> int:
        return self.constant(np.asarray(value, np.float32))

    def whole(self, value: Sequence[int]) -> int:
        return self.constant(np.asarray(value, np.int32))

    def kind(self, tensor: int) -> int:
        return int(self._tensors[tensor].type)

    def shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(int(n) for n in self._tensors[tensor].shape)

    def add(self, operator: str, inputs: Sequence[int], output: int, *, version: int = 1, options: Any = None) -> int:
        made = schema.OperatorT()
        made.opcodeIndex = self._code(getattr(schema.BuiltinOperator, operator), version)
        made.inputs, made.outputs = list(inputs), [output]
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            made.builtinOptionsType, made.builtinOptions = getattr(schema.BuiltinOptions, kind), options
        self._operators.append(made)
        return output

    def adopt(self, member: Member, variant: Variant, *, prefix: str) -> tuple[int, int]:
        """Take over a member's file; the numbers of its input and answer. Its operators run after what is added now."""
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(member.bundle.files[variant.file]))
        if len(model.subgraphs) != 1 or len(variant.inputs) != 1:
            raise ConversionError(
                f"{member.name!r} has {len(model.subgraphs)} subgraphs and {len(variant.inputs)} inputs; merged are "
                "models with one of each. Fuse it in a stream."
            )
        [subgraph] = model.subgraphs
        first_tensor, first_code, first_buffer = len(self._tensors), len(self._codes), len(self._buffers)
        self._buffers += model.buffers
        self._codes += model.operatorCodes
        for tensor in subgraph.tensors:
            tensor.buffer += first_buffer
            tensor.name = prefix.encode() + (tensor.name or b"")
            self._tensors.append(tensor)
        for operator in subgraph.operators:
            operator.opcodeIndex += first_code
            for field in ("inputs", "outputs", "intermediates"):
                if (numbers := getattr(operator, field)) is not None:
                    setattr(operator, field, [int(n) + first_tensor if n >= 0 else -1 for n in numbers])
        self._waiting = list(subgraph.operators)
        names = {(tensor.name or b"").decode(): index for index, tensor in enumerate(self._tensors)}
        return names[prefix + variant.inputs[0].name], names[prefix + variant.outputs[0].name]

    def release(self) -> None:
        """Put the adopted operators behind what was added since."""
        self._operators += self._waiting

    def file(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        subgraph, model = schema.SubGraphT(), schema.ModelT()
        subgraph.tensors, subgraph.operators = self._tensors, self._operators
        subgraph.inputs, subgraph.outputs, subgraph.name = list(inputs), list(outputs), b"main"
        model.version, model.description = 3, b"edge-sdk merge"
        model.operatorCodes, model.subgraphs, model.buffers = self._codes, [subgraph], self._buffers
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def _code(self, builtin: int, version: int) -> int:
        for index, code in enumerate(self._codes):
            if (code.builtinCode, code.version) == (builtin, version) and not code.customCode:
                return index
        made = schema.OperatorCodeT()
        made.builtinCode, made.deprecatedBuiltinCode, made.version = builtin, min(builtin, 127), version
        self._codes.append(made)
        return len(self._codes) - 1


def _enter(graph: _Graph, plan: Plan, member: Member, variant: Variant, window: int, entry: int) -> None:
    """From the window in physical units to a member's input."""
    at, n = window, len(member.columns)
    shape = (1, plan.windowing.length, n)

    def then(operator: str, *inputs: int, options: Any) -> int:
        return graph.add(operator, inputs, graph.tensor(f"{member.name}/{operator}{inputs}", shape), options=options)

    if member.columns != tuple(range(len(plan.channels))):
        gather = schema.GatherOptionsT()
        gather.axis = 2
        at = then("GATHER", at, graph.whole(member.columns), options=gather)
    for step in member.transforms:
        if isinstance(step, Affine):
            at = then("MUL", at, graph.real(step.gain), options=schema.MulOptionsT())
            at = then("ADD", at, graph.real(step.offset), options=schema.AddOptionsT())
        else:
            at = then("MAXIMUM", at, graph.real(step.minimum), options=schema.MaximumMinimumOptionsT())
            at = then("MINIMUM", at, graph.real(step.maximum), options=schema.MaximumMinimumOptionsT())
    reshape, wanted = schema.ReshapeOptionsT(), variant.inputs[0].shape
    reshape.newShape = list(wanted)
    is_float = graph.kind(entry) == schema.TensorType.FLOAT32
    target = entry if is_float else graph.tensor(f"{member.name}/in", wanted)
    graph.add("RESHAPE", [at, graph.whole(wanted)], target, options=reshape)
    if not is_float:
        version = 2 if graph.kind(entry) == schema.TensorType.INT16 else 1
        graph.add("QUANTIZE", [target], entry, version=version, options=schema.QuantizeOptionsT())
    graph.release()


def _row(graph: _Graph, answer: int, width: int) -> int:
    """A member's answer as float32 ``(1, width)``."""
    at, shape = answer, graph.shape(answer)
    if graph.kind(at) != schema.TensorType.FLOAT32:
        version = _DEQUANTIZE_VERSION[graph.kind(at)]
        real = graph.tensor(f"real{answer}", shape)
        at = graph.add("DEQUANTIZE", [at], real, version=version, options=schema.DequantizeOptionsT())
    if shape != (1, width):
        reshape = schema.ReshapeOptionsT()
        reshape.newShape = [1, width]
        row = graph.tensor(f"row{answer}", (1, width))
        at = graph.add("RESHAPE", [at, graph.whole([1, width])], row, options=reshape)
    return at


def _fuse(graph: _Graph, plan: Plan, rows: Sequence[int]) -> int:
    """From the members' answers, as rows of one matrix, to the fused one."""
    n, width = len(rows), plan.width

    def then(operator: str, *inputs: int, to: tuple[int, ...] = (n, width), options: Any = None) -> int:
        return graph.add(operator, inputs, graph.tensor(f"{operator}{inputs}", to), options=options)

    def total(at: int, axis: int, name: str = "") -> int:
        reducer = schema.ReducerOptionsT()
        reducer.keepDims = True
        to = (n, 1) if axis else (1, width)
        return graph.add("SUM", [at, graph.whole([axis])], graph.tensor(name or f"sum{at}", to), options=reducer)

    concatenation = schema.ConcatenationOptionsT()
    concatenation.axis = 0
    at = then("CONCATENATION", *rows, options=concatenation)
    if plan.classifies:  # what a station's model does with its answer: the temperature, and a sum of 1
        temperatures = np.asarray([[member.manifest.temperature] for member in plan.members])
        if (temperatures != 1.0).any():
            at = then("MAXIMUM", at, graph.real(LEAST), options=schema.MaximumMinimumOptionsT())
            at = then("POW", at, graph.real(np.repeat(1.0 / temperatures, width, axis=1)), options=schema.PowOptionsT())
        at = then("DIV", at, total(at, 1), options=schema.DivOptionsT())
    if plan.pools:
        at = then("MAXIMUM", at, graph.real(plan.fusion.floor), options=schema.MaximumMinimumOptionsT())
        at = then("LOG", at)
    at = then("MUL", at, graph.real(plan.weights[:, None]), options=schema.MulOptionsT())
    if not plan.pools:
        return total(at, 0, OUTPUT)
    softmax = schema.SoftmaxOptionsT()
    softmax.beta = 1.0
    return graph.add("SOFTMAX", [total(at, 0)], graph.tensor(OUTPUT, (1, width)), options=softmax)
