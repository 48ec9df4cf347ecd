"""Bias correction: integer biases moved so that each layer's mean is the float layer's (Nagel et al. 2019, §4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from converters.evaluate.layers import output_indices, pair_operators, run_all

_WITH_BIAS = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}


def corrected(float_model: bytes, model: bytes, inputs: Sequence[NDArray[np.float32]]) -> bytes:
    """Correct the biases of an int8 TFLite model, layer after layer, each seeing what the earlier ones became.

    Rounding weights and clipping activations shifts the mean of every channel; the shift is measured on calibration
    data and taken out of the int32 bias, which costs neither size nor time.

    Args:
        float_model: The float model that it was made from.
        model: The int8 model.
        inputs: Calibration windows, the batch of 1 included.
    """
    edited = bytearray(model)
    pairs = [pair for pair in pair_operators(float_model, model) if pair[0].kind in _WITH_BIAS]
    float_indices, indices = output_indices(float_model), output_indices(model)
    wanted = run_all(float_model, inputs, [float_indices[ours.index] for ours, _ in pairs])
    for (_, theirs), reference in zip(pairs, wanted, strict=True):
        bias = _Bias.of(edited, theirs.index)
        if bias is None:
            continue
        [found] = run_all(bytes(edited), inputs, [indices[theirs.index]])
        axes = tuple(range(found.ndim - 1))
        bias.move((reference.reshape(found.shape) - found).mean(axis=axes, dtype=np.float64))
    return bytes(edited)


class _Bias:
    """An int32 bias inside a TFLite file, edited in place."""

    def __init__(self, values: NDArray[np.int32], scale: NDArray[np.float32]) -> None:
        self._values, self._scale = values, scale

    @classmethod
    def of(cls, model: bytearray, index: int) -> _Bias | None:
        """The bias of operator `index`; None where it has none of its own, or none that is quantized."""
        tree: Any = schema.Model.GetRootAs(model, 0)
        graph = tree.Subgraphs(0)
        operator = graph.Operators(index)
        if operator.InputsLength() < 3 or operator.Inputs(2) < 0:
            return None
        tensor = graph.Tensors(operator.Inputs(2))
        users = [graph.Tensors(i).Buffer() for i in range(graph.TensorsLength())]
        quantization = tensor.Quantization()
        if tensor.Type() != schema.TensorType.INT32 or users.count(tensor.Buffer()) != 1 or quantization is None:
            return None
        buffer = tree.Buffers(tensor.Buffer())
        if not buffer.DataLength():
            return None
        content = buffer.DataAsNumpy()
        return cls(content.view(np.int32), np.asarray(quantization.ScaleAsNumpy(), np.float32))

    def move(self, by: NDArray[np.float64]) -> None:
        """Add `by`, real numbers, one for each channel."""
        steps = np.rint(by / self._scale.astype(np.float64))
        limits = np.iinfo(np.int32)
        self._values[:] = np.clip(self._values.astype(np.int64) + steps.astype(np.int64), limits.min, limits.max)
