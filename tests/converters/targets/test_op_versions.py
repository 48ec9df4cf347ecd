from __future__ import annotations

from pathlib import Path

import pytest

from converters.targets.op_versions import onnx_runtimes, tflite_operators, tflite_runtimes
from edge_sdk.base.errors import ConversionError
from tests.models import tflite_model, weights

SHARED = Path(__file__).parents[4] / "shared" / "models"


def test_old_operators_run_on_old_runtimes() -> None:
    model = tflite_model(weights())

    assert {operator.name for operator in tflite_operators(model)} == {"FULLY_CONNECTED", "SOFTMAX"}
    assert tflite_runtimes(model) == {"litert": "1.0.1", "tflite": "1.5.0"}


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/models is not here")
@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("mlperf-tiny/vww_96_float", "1.5.0"),
        ("mlperf-tiny/vww_96_int8", "1.14.0"),  # its metadata still says 1.5.0, of before it was quantized
        ("coral-edgetpu/keras_lstm_mnist_ptq", "1.14.0"),
    ],
)
def test_real_models_need_what_their_operators_need(name: str, needed: str) -> None:
    assert tflite_runtimes((SHARED / f"{name}.tflite").read_bytes())["tflite"] == needed


def test_an_opset_between_two_known_ones_needs_the_newer() -> None:
    assert onnx_runtimes(12) == {"onnxruntime": "1.6"}
    assert onnx_runtimes(17) == {"onnxruntime": "1.12"}


def test_what_is_no_tflite_file_is_refused() -> None:
    with pytest.raises(ConversionError):
        tflite_operators(b"\x00" * 3)
