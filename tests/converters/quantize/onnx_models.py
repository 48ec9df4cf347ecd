"""Small ONNX models, made by hand: convolutions over time as tf2onnx writes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

LENGTH, CHANNELS, CLASSES = 40, 3, 4


def wrapped(*, filters: int = 8, axis: int = 1) -> Any:
    """Two layers of Unsqueeze, Conv, Squeeze, Mul, Add, Relu; then the mean over time, Gemm and Softmax."""
    rng = np.random.default_rng(0)
    weights: dict[str, NDArray[Any]] = {
        "axis": np.array([axis], np.int64),
        "width": np.array([2], np.int64),
        "last": np.array([-1], np.int64),
        "dense": rng.normal(0, 0.5, (filters, CLASSES)).astype(np.float32),
        "bias": rng.normal(0, 0.5, CLASSES).astype(np.float32),
    }
    nodes = [
        helper.make_node("Unsqueeze", ["x", "axis"], ["image"]),
        helper.make_node("Transpose", ["image"], ["0/in"], perm=[0, 3, 1, 2]),
    ]
    n_in = CHANNELS
    for layer in range(2):
        weights[f"{layer}/w"] = rng.normal(0, 0.4, (filters, n_in, 1, 5)).astype(np.float32)
        weights[f"{layer}/gain"] = rng.uniform(0.2, 4, (1, filters, 1)).astype(np.float32)
        weights[f"{layer}/offset"] = rng.normal(0, 1, (1, filters, 1)).astype(np.float32)
        if layer:
            nodes.append(helper.make_node("Unsqueeze", ["0/relu", "width"], ["1/in"]))
        nodes += [
            helper.make_node(
                "Conv", [f"{layer}/in", f"{layer}/w"], [f"{layer}/conv"], strides=[1, 2], pads=[0, 1, 0, 2]
            ),
            helper.make_node("Squeeze", [f"{layer}/conv", "width"], [f"{layer}/flat"]),
            helper.make_node("Mul", [f"{layer}/flat", f"{layer}/gain"], [f"{layer}/mul"]),
            helper.make_node("Add", [f"{layer}/mul", f"{layer}/offset"], [f"{layer}/add"]),
            helper.make_node("Relu", [f"{layer}/add"], [f"{layer}/relu"]),
        ]
        n_in = filters
    nodes += [
        helper.make_node("GlobalAveragePool", ["1/relu"], ["mean"]),
        helper.make_node("Squeeze", ["mean", "last"], ["features"]),
        helper.make_node("Gemm", ["features", "dense", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "wrapped",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, LENGTH, CHANNELS))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, CLASSES))],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def windows(n: int, *, seed: int) -> NDArray[np.float32]:
    """Inputs of `wrapped`."""
    return np.random.default_rng(seed).normal(0, 1, (n, LENGTH, CHANNELS)).astype(np.float32)


def answers(model: Any, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a model says to each window."""
    content = model if isinstance(model, bytes) else model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"x": window[None]})[0] for window in inputs])
