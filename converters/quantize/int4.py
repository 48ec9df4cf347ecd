"""Weights of four bits in ONNX: standard DequantizeLinear on packed constants, convolutions included."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edge_sdk.base.errors import ConversionError

_OPSET, _IR_VERSION = 21, 10
_OUTPUT_AXIS = {"Conv": 0, "ConvTranspose": 1, "Gemm": 1, "MatMul": -1}
_LEAST = 64
_SHRINKS = np.linspace(0.5, 1.0, 21)


def with_int4_weights(model: Any) -> Any:
    """Replace every larger weight of a layer by four-bit integers and a scale for each output channel.

    ONNX Runtime's own MatMulNBits leaves convolutions as they are, and is no standard operator. The clipping that
    loses least (mean square) is sought for each channel.

    Args:
        model: A float ``onnx.ModelProto``; it is left as it is.

    Raises:
        ConversionError: It cannot be written in the opset that knows four-bit integers.
    """
    try:
        made: Any = onnx.version_converter.convert_version(model, _OPSET)
    except Exception as error:  # the converter raises RuntimeError and its own kinds alike
        raise ConversionError(f"The model cannot be written in opset {_OPSET}, which int4 needs: {error}") from error
    made.ir_version = _IR_VERSION
    graph = made.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    users: dict[str, set[int]] = {}
    for node in graph.node:
        if node.op_type in _OUTPUT_AXIS and len(node.input) > 1 and node.input[1] in weights:
            users.setdefault(node.input[1], set()).add(_axis(node, len(weights[node.input[1]].dims)))
    before = []
    for name, axes in users.items():
        values = onnx.numpy_helper.to_array(weights[name])
        others = [node for node in graph.node if name in node.input and node.op_type not in _OUTPUT_AXIS]
        if values.size < _LEAST or values.dtype != np.float32 or len(axes) != 1 or others:
            continue
        [axis] = axes
        quantized, scale = _rounded(values, axis)
        graph.initializer.remove(weights[name])
        graph.initializer.append(helper.make_tensor(f"{name}_int4", TensorProto.INT4, values.shape, quantized.ravel()))
        graph.initializer.append(onnx.numpy_helper.from_array(scale, f"{name}_scale"))
        before.append(helper.make_node("DequantizeLinear", [f"{name}_int4", f"{name}_scale"], [name], axis=axis))
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*before, *rest])
    return made


def _axis(node: Any, rank: int) -> int:
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return 0 if transposed else _OUTPUT_AXIS[node.op_type] % rank


def _rounded(values: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Integers from -8 to 7 and the scale of each channel that together are closest to the values."""
    rows = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1).astype(np.float64)
    widest = np.maximum(np.abs(rows).max(axis=1), 1e-12) / 7
    errors = np.stack([_error(rows, widest * shrink) for shrink in _SHRINKS])
    scale = widest * _SHRINKS[errors.argmin(axis=0)]
    quantized = np.clip(np.rint(rows / scale[:, None]), -8, 7)
    shape = (values.shape[axis], *(n for index, n in enumerate(values.shape) if index != axis))
    return np.moveaxis(quantized.reshape(shape), 0, axis).astype(np.int8), scale.astype(np.float32)


def _error(rows: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    step = scale[:, None]
    return np.asarray(np.square(np.clip(np.rint(rows / step), -8, 7) * step - rows).sum(axis=1))
