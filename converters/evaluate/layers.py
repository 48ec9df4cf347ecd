"""Layers: where in a deployable model the answers begin to differ from the float one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from converters.targets.graph import Operator, read_graph
from converters.targets.outputs import output_tensors

_BESIDE = {"QUANTIZE", "DEQUANTIZE"}
BAD_SQNR_DB = 10.0


class LayerError(msgspec.Struct, frozen=True, kw_only=True):
    """How far one layer's output is from the float model's.

    Attributes:
        index: Its place among the float model's operators.
        operator: Its kind.
        name: Its output's name in the float model.
        sqnr_db: Signal power over error power, decibels: 40 is fine, below 10 little is left. Capped at 120.
        cosine: Of the angle between both outputs; 1 = the same direction.
        bias: Mean of the error, in the output's unit.
    """

    index: int
    operator: str
    name: str
    sqnr_db: float
    cosine: float
    bias: float


def layer_errors(float_model: bytes, model: bytes, inputs: Sequence[NDArray[np.float32]]) -> tuple[LayerError, ...]:
    """Run both on the same windows and compare every layer that both have.

    Args:
        float_model: Float TFLite or ONNX.
        model: The deployable model, same format.
        inputs: Model inputs, the batch of 1 included.
    """
    is_tflite = float_model[4:8] == b"TFL3"
    run = _run_tflite if is_tflite else _run_onnx
    pairs = pair_operators(float_model, model) if is_tflite else _pair_onnx(float_model, model)
    wanted = run(float_model, [ours[0] for ours in pairs], inputs)
    found = run(model, [theirs[1] for theirs in pairs], inputs)
    return tuple(
        _compare(reference, w, f) for (reference, _), w, f in zip(pairs, wanted, found, strict=True) if w.size == f.size
    )


def first_bad(layers: Sequence[LayerError]) -> LayerError | None:
    """The first layer where most of the signal is lost; None where there is none."""
    return next((layer for layer in layers if layer.sqnr_db < BAD_SQNR_DB), None)


def blame(layers: Sequence[LayerError]) -> str:
    """The first layer where most of the signal is lost and what to try, in words; empty where there is none."""
    bad = first_bad(layers)
    if bad is None:
        return ""
    return (
        f"Most of the signal is lost from layer {bad.index}, {bad.operator} ({bad.name}): {bad.sqnr_db:.1f} dB. "
        "Check that calibration covers what it sees in service; else leave it in float (--precision mixed), or give "
        "its activations 16 bit (--precision int16x8)."
    )


def pair_operators(float_model: bytes, model: bytes) -> list[tuple[Operator, Operator]]:
    """Pair the operators of a float TFLite model with those of its quantized form, in order, by kind and shape."""
    pairs = []
    theirs = iter([operator for operator in read_graph(model).operators if operator.kind not in _BESIDE])
    for ours in (operator for operator in read_graph(float_model).operators if operator.kind not in _BESIDE):
        for other in theirs:
            if other.kind == ours.kind and other.outputs[0].shape == ours.outputs[0].shape:
                pairs.append((ours, other))
                break
        else:
            break
    return pairs


def run_all(model: bytes, inputs: Sequence[NDArray[np.float32]], tensors: Sequence[int]) -> list[NDArray[np.float32]]:
    """Run a TFLite model on the built-in kernels; give chosen tensors as real numbers, stacked over the windows."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter: Any = Interpreter(
        model_content=model,
        num_threads=1,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    details = {detail["index"]: detail for detail in interpreter.get_tensor_details()}
    given = interpreter.get_input_details()[0]
    found: list[list[NDArray[np.float32]]] = [[] for _ in tensors]
    for window in inputs:
        interpreter.set_tensor(given["index"], _stored(window, given))
        interpreter.invoke()
        for index, values in zip(tensors, found, strict=True):
            values.append(_real(interpreter.get_tensor(index), details[index]))
    return [np.stack(values) for values in found]


def answers_of(model: bytes, inputs: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The answers of a TFLite or ONNX model, as real numbers, stacked over the windows."""
    if model[4:8] == b"TFL3":
        [answers] = run_all(model, inputs, output_tensors(model)[:1])
        return answers
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    given, wanted = session.get_inputs()[0].name, session.get_outputs()[0].name
    return np.stack([session.run([wanted], {given: window})[0] for window in inputs])


def output_indices(model: bytes) -> list[int]:
    """The first output tensor's index of every operator of a TFLite file, in order."""
    from ai_edge_litert import schema_py_generated as schema

    graph: Any = schema.Model.GetRootAs(model, 0).Subgraphs(0)
    return [int(graph.Operators(i).Outputs(0)) for i in range(graph.OperatorsLength())]


def _run_tflite(
    model: bytes, operators: Sequence[Operator], inputs: Sequence[NDArray[np.float32]]
) -> list[NDArray[np.float32]]:
    indices = output_indices(model)
    return run_all(model, inputs, [indices[operator.index] for operator in operators])


def _pair_onnx(float_model: bytes, model: bytes) -> list[tuple[Operator, Operator]]:
    """Pair by the name of the output, after it was quantized: only then a folded activation has been applied."""
    theirs = {operator.name: operator for operator in read_graph(model).operators}
    pairs = []
    for operator in read_graph(float_model).operators:
        for name in (f"{operator.name}_DequantizeLinear_Output", operator.name):
            if name in theirs:
                pairs.append((operator, theirs[name]))
                break
    return pairs


def _run_onnx(
    model: bytes, operators: Sequence[Operator], inputs: Sequence[NDArray[np.float32]]
) -> list[NDArray[np.float32]]:
    import onnx
    import onnxruntime

    tree: Any = onnx.load_from_string(model)
    names = [operator.name for operator in operators]
    there = {output.name for output in tree.graph.output}
    tree.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in there)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    session = onnxruntime.InferenceSession(tree.SerializeToString(), options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0].name
    answers = [session.run(names, {given: window}) for window in inputs]
    return [np.stack([answer[i] for answer in answers]).astype(np.float32) for i in range(len(names))]


def _compare(operator: Operator, wanted: NDArray[np.float32], found: NDArray[np.float32]) -> LayerError:
    w, f = wanted.astype(np.float64).ravel(), found.astype(np.float64).ravel()
    signal, noise = float(w @ w), float((w - f) @ (w - f))
    ratio = signal / noise if noise > 0 else np.inf
    lengths = float(np.sqrt(signal * float(f @ f)))
    return LayerError(
        index=operator.index,
        operator=operator.kind,
        name=operator.name,
        sqnr_db=float(np.clip(10 * np.log10(ratio), -120, 120)) if ratio > 0 else -120.0,
        cosine=float(w @ f) / lengths if lengths > 0 else float(signal == float(f @ f)),
        bias=float((f - w).mean()),
    )


def _stored(window: NDArray[np.float32], detail: dict[str, Any]) -> NDArray[Any]:
    window = window.reshape(detail["shape"])
    scale, zero_point = detail["quantization"]
    if not scale:
        return window.astype(detail["dtype"])
    limits = np.iinfo(detail["dtype"])
    stored: NDArray[Any] = np.clip(np.rint(window / scale) + zero_point, limits.min, limits.max)
    return stored.astype(detail["dtype"])


def _real(values: NDArray[Any], detail: dict[str, Any]) -> NDArray[np.float32]:
    scale, zero_point = detail["quantization"]
    real = values.astype(np.float32)
    return np.asarray((real - zero_point) * np.float32(scale) if scale else real, dtype=np.float32)
