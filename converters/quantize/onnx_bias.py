"""Bias correction in ONNX: as for TFLite, on the QDQ form that ONNX Runtime's quantizer writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper

_CHANNEL = {"Conv": 2, "ConvTranspose": 2, "Gemm": -1}  # of outputs stacked over the windows, (n, 1, …)


def corrected_onnx(float_model: bytes, model: bytes, inputs: Sequence[NDArray[np.float32]]) -> bytes:
    """Correct the biases of a static int8 ONNX model, layer after layer, each seeing what the earlier ones became.

    Args:
        float_model: The float model that it was made from; both call a layer by the same name.
        model: The QDQ model.
        inputs: Calibration windows, the batch of 1 included.
    """
    made: Any = onnx.load_from_string(model)
    before: Any = onnx.load_from_string(float_model)
    tensors = {tensor.name: tensor for tensor in made.graph.initializer}
    readers = [name for node in made.graph.node for name in node.input]
    dequantized = {node.output[0]: node for node in made.graph.node if node.op_type == "DequantizeLinear"}
    floats = {node.name: node.output[0] for node in before.graph.node if node.name}
    layers = [
        (node, dequantized[node.input[2]])
        for node in made.graph.node
        if node.op_type in _CHANNEL and len(node.input) > 2 and node.input[2] in dequantized and node.name in floats
    ]
    layers = [(node, bias) for node, bias in layers if readers.count(bias.input[0]) == 1 and bias.input[0] in tensors]
    wanted = _run(before, [floats[node.name] for node, _ in layers], inputs)
    for (node, bias), reference in zip(layers, wanted, strict=True):
        [found] = _run(made, [node.output[0]], inputs)
        axes = tuple(axis for axis in range(found.ndim) if axis != _CHANNEL[node.op_type] % found.ndim)
        shift = (reference - found).mean(axis=axes, dtype=np.float64)
        stored, scale = (numpy_helper.to_array(tensors[name]) for name in bias.input[:2])
        limits = np.iinfo(np.int32)
        moved = stored.astype(np.int64) + np.rint(shift / scale.astype(np.float64)).astype(np.int64)
        values = np.clip(moved, limits.min, limits.max).astype(stored.dtype)
        tensors[bias.input[0]].CopyFrom(numpy_helper.from_array(values, bias.input[0]))
    content: bytes = made.SerializeToString(deterministic=True)
    return content


def _run(model: Any, names: Sequence[str], inputs: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Tap values inside a model as they stand before an activation is folded in, stacked over the windows."""
    if not names:
        return []
    tapped: Any = onnx.ModelProto.FromString(model.SerializeToString())
    there = {output.name for output in tapped.graph.output}
    tapped.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in there)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(tapped.SerializeToString(), options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0].name
    answers = [session.run(list(names), {given: window}) for window in inputs]
    return [np.stack([answer[i] for answer in answers]) for i in range(len(names))]
