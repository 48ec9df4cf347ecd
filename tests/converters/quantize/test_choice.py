"""Of several int8 forms the one is taken that answers as the float model does: its probabilities, and its labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from converters.quantize.choice import closest

LEAN = 0.4


def _classifier(*, lean: float, is_quantized: bool) -> bytes:
    """Two classes; `lean` is what the second feature wrongly gives the first."""
    tensors: dict[str, NDArray[Any]] = {"w": np.array([[1, 0], [lean, 0]], np.float32)}
    nodes = []
    if is_quantized:
        tensors |= {
            "stored": np.zeros(2, np.int32),
            "scale": np.array(0.001, np.float32),
            "zero": np.array(0, np.int32),
        }
        nodes.append(helper.make_node("DequantizeLinear", ["stored", "scale", "zero"], ["bias"]))
    else:
        tensors["bias"] = np.zeros(2, np.float32)
    nodes += [
        helper.make_node("Gemm", ["x", "w", "bias"], ["logits"], name="dense"),
        helper.make_node("Softmax", ["logits"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 2))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 2))],
        [numpy_helper.from_array(values, name) for name, values in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def _windows(margin: float) -> NDArray[np.float32]:
    """Half that the lean does not touch, so far from the other label; half that it pushes further from it."""
    untouched, pushed = [margin, 0], [0.05, 1]
    return np.array([untouched, untouched, pushed, pushed] * 32, np.float32)


def test_a_classifier_whose_labels_would_change_stays_as_it_is_at_the_same_distance() -> None:
    floating, plain = _classifier(lean=0, is_quantized=False), _classifier(lean=LEAN, is_quantized=True)

    assert closest(floating, [plain], _windows(margin=0.1)) == plain


def test_biases_are_corrected_where_no_label_changes() -> None:
    floating, plain = _classifier(lean=0, is_quantized=False), _classifier(lean=LEAN, is_quantized=True)

    assert closest(floating, [plain], _windows(margin=0.3)) != plain
