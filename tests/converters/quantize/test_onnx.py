from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from converters.load.onnx import load_onnx
from converters.quantize.onnx import write_onnx
from converters.quantize.onnx_bias import corrected_onnx
from converters.scheme import Scheme
from tests.converters.quantize.onnx_models import answers, windows, wrapped


def _written(folder: Path, precision: str, calibration: NDArray[np.float32] | None) -> bytes:
    onnx.save(wrapped(), folder / "model.onnx")
    content, _ = write_onnx(load_onnx(folder / "model.onnx", folder, {}), Scheme("onnx", precision), calibration)
    return content


def test_each_layer_of_an_int8_network_over_time_is_quantized_once(tmp_path: Path) -> None:
    model: Any = onnx.load_from_string(_written(tmp_path, "int8", windows(64, seed=1)))

    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("Conv") == 2
    assert "Mul" not in kinds  # batch normalization is folded into the convolution
    assert "Add" not in kinds
    assert kinds.count("QuantizeLinear") <= 6  # the window, its turned form, two layers, the mean, the logits
    assert kinds[-1] == "Softmax"  # the answer leaves as float


def test_a_bias_that_was_moved_is_moved_back(tmp_path: Path) -> None:
    quantized = _written(tmp_path, "int8", windows(64, seed=1))
    moved: Any = onnx.load_from_string(quantized)
    tensor = next(tensor for tensor in moved.graph.initializer if tensor.name.endswith("_bias_quantized"))
    right = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(right + 3000, tensor.name))
    floating: Any = onnx.load_from_string(_written(tmp_path, "float32", None))
    _named_alike(floating, moved)

    mended: Any = onnx.load_from_string(
        corrected_onnx(
            floating.SerializeToString(), moved.SerializeToString(), [window[None] for window in windows(32, seed=2)]
        )
    )

    found = next(numpy_helper.to_array(each) for each in mended.graph.initializer if each.name == tensor.name)
    assert np.abs(found - right).max() < 600
    inputs = windows(50, seed=3)
    errors = [np.abs(answers(each, inputs) - answers(wrapped(), inputs)).mean() for each in (mended, moved)]
    assert errors[0] < 0.5 * errors[1]


def _named_alike(floating: Any, quantized: Any) -> None:
    """Give the float layers the names that the quantized ones have, in order."""
    layers = [
        [node for node in model.graph.node if node.op_type in {"Conv", "Gemm"}] for model in (floating, quantized)
    ]
    for ours, theirs in zip(*layers, strict=True):
        ours.name = theirs.name
