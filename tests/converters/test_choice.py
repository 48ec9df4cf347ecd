from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from converters.evaluate.layers import first_bad, layer_errors, pair_operators
from converters.pipeline import Conversion
from converters.quantize.bias import corrected
from tests.converters.conftest import RECIPE

SCALE = np.float32(RECIPE.preprocess[0].options["factor"])


@pytest.fixture(scope="module")
def inputs(models: Path) -> list[np.ndarray]:
    with np.load(models / "train.npz") as data:
        return [window[None] for window in data["x"][:40] * SCALE]


def test_a_quantized_model_has_the_float_models_layers(sines: Conversion) -> None:
    pairs = pair_operators(sines.files["float32.tflite"], sines.files["int8.tflite"])

    assert [ours.kind for ours, _ in pairs].count("CONV_2D") == 1
    assert pairs[-1][0].kind == "SOFTMAX"


@pytest.mark.parametrize("format", ["tflite", "onnx"])
def test_every_layer_of_a_good_int8_model_keeps_most_of_its_signal(
    sines: Conversion, inputs: list[np.ndarray], format: str
) -> None:
    layers = layer_errors(sines.files[f"float32.{format}"], sines.files[f"int8.{format}"], inputs)

    assert len(layers) >= 4
    assert min(layer.sqnr_db for layer in layers) > 15
    assert min(layer.cosine for layer in layers) > 0.97
    assert first_bad(layers) is None


@pytest.mark.parametrize("format", ["tflite", "onnx"])
def test_a_model_compared_with_itself_has_no_error(sines: Conversion, inputs: list[np.ndarray], format: str) -> None:
    model = sines.files[f"float32.{format}"]

    assert {layer.sqnr_db for layer in layer_errors(model, model, inputs[:4])} == {120.0}


def test_bias_correction_takes_a_shifted_mean_out_again(sines: Conversion, inputs: list[np.ndarray]) -> None:
    floating, model = sines.files["float32.tflite"], sines.files["int8.tflite"]

    mended = corrected(floating, model, inputs)

    assert len(mended) == len(model)
    shift = [sum(abs(layer.bias) for layer in layer_errors(floating, each, inputs)) for each in (model, mended)]
    assert shift[1] <= shift[0] + 1e-3
