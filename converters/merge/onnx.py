"""One ONNX graph out of several: preprocessing of each member, the members, and the fusion arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper, version_converter

from converters.merge.plan import LEAST, Member, Plan
from converters.targets.op_versions import onnx_runtimes
from edge_sdk.base.errors import ConversionError
from edge_sdk.contract.manifest import Variant
from edge_sdk.contract.tensor import TensorSpec
from edge_sdk.inference.preprocess import Affine

INPUT, OUTPUT = "window", "fused"
_LEAST_OPSET = 17


def build_onnx(plan: Plan, variants: Sequence[Variant]) -> tuple[bytes, TensorSpec, TensorSpec, dict[str, str]]:
    """Build the graph.

    Args:
        plan: What is to be made.
        variants: Which variant of each member.

    Returns:
        The model, its input, its output, and the lowest versions of runtimes that run it.

    Raises:
        ConversionError: A member's tensors are not float32, or its graph cannot be brought to the others' version.
    """
    protos = [onnx.load_from_string(member.bundle.files[variant.file]) for member, variant in _pairs(plan, variants)]
    opset = max(_LEAST_OPSET, *(_opset(proto) for proto in protos))
    ir_version = max(proto.ir_version for proto in protos)
    whole = _model(_entrance(plan, variants), opset, ir_version)
    for index, (member, variant) in enumerate(_pairs(plan, variants)):
        proto = _prepared(protos[index], member, variant, opset=opset, ir_version=ir_version, prefix=f"m{index}/")
        entry, answer = f"m{index}/{variant.inputs[0].name}", f"m{index}/{variant.outputs[0].name}"
        whole = compose.merge_models(
            whole,
            proto,
            io_map=[(f"in{index}", entry)],
            outputs=[answer, *(value.name for value in whole.graph.output if value.name != f"in{index}")],
        )
    answers = [f"m{index}/{variant.outputs[0].name}" for index, variant in enumerate(variants)]
    ends = [_maker(proto, variant.outputs[0].name) for proto, variant in zip(protos, variants, strict=True)]
    sums_to_one = all(kind == "Softmax" for kind in ends)
    tail = _model(_exit(plan, variants, sums_to_one=sums_to_one), opset, ir_version)
    whole = compose.merge_models(whole, tail, io_map=[(name, f"p{i}") for i, name in enumerate(answers)])
    whole.producer_name, whole.producer_version, whole.doc_string = "edge-sdk", "", ""
    onnx.checker.check_model(whole)
    shape = (1, plan.windowing.length, len(plan.channels))
    return (
        bytes(whole.SerializeToString(deterministic=True)),
        TensorSpec(name=INPUT, shape=shape, dtype="float32"),
        TensorSpec(name=OUTPUT, shape=(1, plan.width), dtype="float32"),
        onnx_runtimes(opset),
    )


def _pairs(plan: Plan, variants: Sequence[Variant]) -> list[tuple[Member, Variant]]:
    return list(zip(plan.members, variants, strict=True))


def _opset(proto: Any) -> int:
    return next(int(entry.version) for entry in proto.opset_import if entry.domain == "")


def _maker(proto: Any, output: str) -> str:
    """Kind of the node that makes an output."""
    return next((str(node.op_type) for node in proto.graph.node if output in node.output), "")


def _model(graph: Any, opset: int, ir_version: int) -> Any:
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


def _prepared(proto: Any, member: Member, variant: Variant, *, opset: int, ir_version: int, prefix: str) -> Any:
    """A member at the common version, its names apart from the others', with its answer as its only output."""
    specs = (*variant.inputs[:1], *variant.outputs[:1])
    if odd := next((spec for spec in specs if spec.dtype != "float32"), None):
        raise ConversionError(
            f"{member.name!r} has a tensor {odd.name!r} of {odd.dtype}; merged are models with float32 input and "
            "output. Name another variant with --precision."
        )
    if len(variant.inputs) != 1:
        raise ConversionError(f"{member.name!r} has {len(variant.inputs)} inputs; merged are models with one.")
    used = {node.domain for node in proto.graph.node}
    kept = [entry for entry in proto.opset_import if entry.domain in {"", *used}]
    del proto.opset_import[:]
    proto.opset_import.extend(kept)
    try:
        if _opset(proto) < opset:
            proto = version_converter.convert_version(proto, opset)
    except RuntimeError as error:
        raise ConversionError(f"{member.name!r} cannot be brought to ONNX opset {opset}: {error}.") from error
    proto.ir_version = ir_version
    del proto.functions[:]
    others = [value for value in proto.graph.output if value.name != variant.outputs[0].name]
    for value in others:
        proto.graph.output.remove(value)
    return compose.add_prefix(proto, prefix)


class _Nodes:
    """Nodes and constants of a graph in the making."""

    def __init__(self, prefix: str) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._prefix = prefix

    def constant(self, value: NDArray[Any]) -> str:
        name = f"{self._prefix}c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, kind: str, *inputs: str, to: str = "", **attributes: Any) -> str:
        name = to or f"{self._prefix}t{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(kind, list(inputs), [name], name=f"{self._prefix}n{len(self.nodes)}", **attributes)
        )
        return name

    def split(self, at: str, sizes: Sequence[int], *, axis: int) -> list[str]:
        names = [f"{self._prefix}s{len(self.nodes)}_{index}" for index in range(len(sizes))]
        inputs = [at, self.whole(sizes)]
        self.nodes.append(helper.make_node("Split", inputs, names, name=f"{self._prefix}n{len(self.nodes)}", axis=axis))
        return names

    def real(self, value: NDArray[Any] | np.float32 | float) -> str:
        return self.constant(np.asarray(value, np.float32))

    def whole(self, value: Sequence[int]) -> str:
        return self.constant(np.asarray(value, np.int64))


def _entrance(plan: Plan, variants: Sequence[Variant]) -> Any:
    """From the window in physical units to each member's input; with few nodes where the members are alike."""
    parts = _Nodes("entrance/")
    inputs = _together(parts, plan) or [_alone(parts, plan, member) for member in plan.members]
    outputs = []
    for index, (at, member, variant) in enumerate(zip(inputs, plan.members, variants, strict=True)):
        shape, is_now = variant.inputs[0].shape, (1, plan.windowing.length, len(member.columns))
        kind, more = ("Identity", ()) if shape == is_now else ("Reshape", (parts.whole(shape),))
        parts.add(kind, at, *more, to=f"in{index}")
        outputs.append(helper.make_tensor_value_info(f"in{index}", TensorProto.FLOAT, shape))
    shape = (1, plan.windowing.length, len(plan.channels))
    window = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, shape)
    return helper.make_graph(parts.nodes, "entrance", [window], outputs, parts.constants)


def _alone(parts: _Nodes, plan: Plan, member: Member) -> str:
    """One member's channels and preprocessing."""
    at = INPUT
    if member.columns != tuple(range(len(plan.channels))):
        at = parts.add("Gather", at, parts.whole(member.columns), axis=2)
    for step in member.transforms:
        if isinstance(step, Affine):
            at = parts.add("Add", parts.add("Mul", at, parts.real(step.gain)), parts.real(step.offset))
        else:
            at = parts.add("Clip", at, parts.real(step.minimum), parts.real(step.maximum))
    return at


def _together(parts: _Nodes, plan: Plan) -> list[str] | None:
    """All members' preprocessing at once; None where they are not alike enough.

    On top of each other where all read everything, side by side where the channels are shared out.
    """
    members, everything = plan.members, tuple(range(len(plan.channels)))
    kinds = {tuple(type(step) for step in member.transforms) for member in members}
    on_top = all(member.columns == everything for member in members)
    side_by_side = tuple(column for member in members for column in member.columns) == everything
    if len(kinds) != 1 or not (on_top or side_by_side):
        return None

    def joined(values: Sequence[Any]) -> NDArray[np.float32]:
        rows = [np.broadcast_to(value, len(member.columns)) for value, member in zip(values, members, strict=True)]
        return np.stack(rows)[:, None].astype(np.float32) if on_top else np.concatenate(rows).astype(np.float32)

    at = INPUT
    for steps in zip(*(member.transforms for member in members), strict=True):
        if all(isinstance(step, Affine) for step in steps):
            at = parts.add("Mul", at, parts.real(joined([step.gain for step in steps])))
            at = parts.add("Add", at, parts.real(joined([step.offset for step in steps])))
        else:
            low, high = ({float(getattr(step, end)) for step in steps} for end in ("minimum", "maximum"))
            if len(low) == len(high) == 1:
                at = parts.add("Clip", at, parts.real(low.pop()), parts.real(high.pop()))
            else:
                at = parts.add("Max", at, parts.real(joined([step.minimum for step in steps])))
                at = parts.add("Min", at, parts.real(joined([step.maximum for step in steps])))
    if not members[0].transforms and on_top:
        return [at] * len(members)
    sizes = [1] * len(members) if on_top else [len(member.columns) for member in members]
    return parts.split(at, sizes, axis=0 if on_top else 2)


def _exit(plan: Plan, variants: Sequence[Variant], *, sums_to_one: bool) -> Any:
    """From the members' answers to the fused one: all of them as rows of one matrix, few nodes for all."""
    parts, inputs, rows = _Nodes("exit/"), [], []
    width = plan.width
    for index, variant in enumerate(variants):
        shape, at = variant.outputs[0].shape, f"p{index}"
        inputs.append(helper.make_tensor_value_info(at, TensorProto.FLOAT, shape))
        rows.append(at if shape == (1, width) else parts.add("Reshape", at, parts.whole([1, width])))
    at = parts.add("Concat", *rows, axis=0)
    if plan.classifies:  # what a station's model does with its answer: the temperature, and a sum of 1
        temperatures = np.asarray([[member.manifest.temperature] for member in plan.members])
        if (temperatures != 1.0).any():
            at = parts.add("Pow", parts.add("Max", at, parts.real(LEAST)), parts.real(1.0 / temperatures))
        if (temperatures != 1.0).any() or not sums_to_one:
            at = parts.add("Div", at, parts.add("ReduceSum", at, parts.whole([1]), keepdims=1))
    if plan.pools:
        at = parts.add("Log", parts.add("Max", at, parts.real(plan.fusion.floor)))
    at = parts.add("MatMul", parts.real(plan.weights[None]), at, to="" if plan.pools else OUTPUT)
    if plan.pools:
        parts.add("Softmax", at, to=OUTPUT, axis=1)
    fused = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, (1, width))
    return helper.make_graph(parts.nodes, "exit", inputs, [fused], parts.constants)
