from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from converters.evaluate.temperature import ece, fit_temperature
from converters.pipeline import Conversion, convert
from converters.recipe import Recipe
from tests.models import CHANNELS, LENGTH, expected, onnx_model, weights

RNG = np.random.default_rng(2)


def _drawn(n: int, sharpen: float) -> tuple[np.ndarray, np.ndarray]:
    """Truth drawn from what a model says, and what it says made surer by a power."""
    logits = RNG.normal(0, 1.5, (n, 4))
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = np.array([RNG.choice(4, p=p) for p in honest])
    said = honest**sharpen
    return said / said.sum(axis=1, keepdims=True), truth


@pytest.mark.parametrize("sharpen", [0.5, 1.0, 3.0])
def test_the_temperature_of_a_model_that_is_too_sure_is_found(sharpen: float) -> None:
    probabilities, truth = _drawn(4000, sharpen)

    found = fit_temperature(probabilities, truth)

    if sharpen == 1.0 and found is None:
        return
    assert found is not None
    assert found.temperature == pytest.approx(sharpen, rel=0.12)
    assert found.ece <= found.ece_before + 0.01


def test_a_model_that_is_right_in_few_windows_is_not_made_certain() -> None:
    truth = np.arange(60) % 3
    probabilities = np.full((60, 3), 0.1)
    probabilities[np.arange(60), truth] = 0.8

    found = fit_temperature(probabilities, truth)

    assert found is not None
    assert 0.4 < found.temperature < 1.0


def test_too_few_windows_fit_nothing() -> None:
    probabilities, truth = _drawn(49, 3.0)

    assert fit_temperature(probabilities, truth) is None


def test_confidence_that_is_accuracy_has_no_calibration_error() -> None:
    probabilities = np.array([[0.75, 0.25]] * 4)

    assert ece(probabilities, np.array([0, 0, 0, 1])) == pytest.approx(0.0)
    assert ece(probabilities, np.array([1, 1, 1, 1])) == pytest.approx(0.75)


def test_the_bundle_carries_the_temperature_of_held_out_windows(sines: Conversion) -> None:
    temper = sines.manifest.provenance["temperature"]

    assert sines.manifest.temperature == temper["temperature"] != 1.0
    assert temper["nll"] < temper["nll_before"]


@pytest.mark.parametrize("given", [None, 2.5])
def test_windows_of_the_calibration_fit_no_temperature(tmp_path: Path, given: float | None) -> None:
    path = tmp_path / "dense.onnx"
    path.write_bytes(onnx_model(3 * weights()))
    x = RNG.normal(size=(80, LENGTH, CHANNELS)).astype(np.float32)
    y = np.array([RNG.choice(3, p=expected(window, weights())) for window in x])

    done = convert(path, Recipe(temperature=given), calibration=x, evaluate=(x, y), out=tmp_path / "out.edge")

    assert done.manifest.temperature == (given or 1.0)
    assert any("80 of 80 evaluation windows are calibration windows too" in note for note in done.notes)
