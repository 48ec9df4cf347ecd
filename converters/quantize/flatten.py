"""Flat convolutions: those over time, which TensorFlow wraps in a dimension of one, unwrapped in ONNX."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

_RANK = 4
_WIDTH = 2  # of NCHW the dimension that TensorFlow puts in


def flattened(model: Any) -> Any:
    """Replace Unsqueeze, two-dimensional Conv, Squeeze by one convolution over time.

    TensorFlow computes a Conv1D in two dimensions of which one is 1. What stands between the convolution and the
    batch normalization behind it then keeps optimizers from folding them, and each is quantized for itself: on the
    demo's networks that cost more accuracy than all the rest.

    Args:
        model: A float ``onnx.ModelProto`` with known weights; it is left as it is.
    """
    made: Any = onnx.ModelProto.FromString(model.SerializeToString())
    graph = made.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    users = Counter(name for node in graph.node for name in node.input)
    users.update(output.name for output in graph.output)
    after = {name: node for node in graph.node for name in node.input}
    gone: list[Any] = []
    for conv in [node for node in graph.node if node.op_type == "Conv" and node.input[1] in weights]:
        if not _is_flat(conv, weights) or users[conv.output[0]] != 1:
            continue
        squeeze = after[conv.output[0]]
        if squeeze.op_type != "Squeeze" or _axes(squeeze, weights) != [_WIDTH]:
            continue
        source = _source(conv, makers, weights)
        if source is None:
            continue
        given, permutation = source
        if permutation:
            name = f"{conv.output[0]}/in_order"
            transpose = helper.make_node("Transpose", [given], [name], name=name, perm=permutation)
            graph.node.insert(list(graph.node).index(conv), transpose)
            given = name
        kernel = f"{conv.input[1]}/flat"
        if kernel not in weights:
            values = numpy_helper.to_array(weights[conv.input[1]])
            weights[kernel] = numpy_helper.from_array(np.squeeze(values, _WIDTH), kernel)
            graph.initializer.append(weights[kernel])
        conv.input[0], conv.input[1] = given, kernel
        for attribute in conv.attribute:
            if attribute.name in {"dilations", "kernel_shape", "pads", "strides"}:
                attribute.ints[:] = attribute.ints[1::2]
        conv.output[0] = squeeze.output[0]
        gone.append(squeeze)
    for node in gone:
        graph.node.remove(node)
    _forget_unused(graph)
    return made


def _is_flat(conv: Any, weights: dict[str, Any]) -> bool:
    """Whether the first of its two dimensions does nothing."""
    given = {attribute.name: attribute for attribute in conv.attribute}
    if len(weights[conv.input[1]].dims) != 4 or weights[conv.input[1]].dims[_WIDTH] != 1:
        return False
    if "auto_pad" in given and given["auto_pad"].s not in {b"", b"NOTSET"}:
        return False
    pads = list(given["pads"].ints) if "pads" in given else [0, 0, 0, 0]
    strides = list(given["strides"].ints) if "strides" in given else [1, 1]
    return pads[0] == pads[2] == 0 and strides[0] == 1


def _source(conv: Any, makers: dict[str, Any], weights: dict[str, Any]) -> tuple[str, list[int]] | None:
    """The series that reaches a convolution before it was wrapped, and how it must be turned; None = there is none."""
    node = makers.get(conv.input[0])
    if node is not None and node.op_type == "Unsqueeze" and _axes(node, weights) == [_WIDTH]:
        return node.input[0], []
    if node is None or node.op_type != "Transpose" or list(node.attribute[0].ints) != [0, 3, 1, 2]:
        return None
    node = makers.get(node.input[0])
    if node is not None and node.op_type == "Unsqueeze" and _axes(node, weights) == [1]:
        return node.input[0], [0, 2, 1]
    return None


def _axes(node: Any, weights: dict[str, Any]) -> list[int]:
    if len(node.input) < 2 or node.input[1] not in weights:
        return []
    return [int(axis) % _RANK for axis in numpy_helper.to_array(weights[node.input[1]])]


def _forget_unused(graph: Any) -> None:
    """Take out what nothing reads any more."""
    while True:
        used = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
        unused = [node for node in graph.node if not any(name in used for name in node.output)]
        for node in unused:
            graph.node.remove(node)
        if not unused:
            break
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)
    there = {name for node in graph.node for name in node.output}
    for value in [value for value in graph.value_info if value.name not in there]:
        graph.value_info.remove(value)
