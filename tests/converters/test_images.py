from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from converters.pipeline import convert
from converters.recipe import Recipe
from edge_sdk.contract.manifest import Channel, Step, Windowing
from edge_sdk.contract.window import Window
from edge_sdk.inference.model import Model
from tests.converters.conftest import ROOT

pytestmark = pytest.mark.slow
SCALE = (Step(kind="scale", options={"factor": 1 / 255}),)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("images")
    subprocess.run(
        [sys.executable, "-m", "tests.converters.image_models", str(made)], cwd=ROOT, check=True, capture_output=True
    )
    return made


@pytest.mark.parametrize("name", ["cnn", "lstm"])
def test_int8_of_an_image_model_stays_within_half_a_point(folder: Path, tmp_path: Path, name: str) -> None:
    with np.load(folder / "train.npz") as train, np.load(folder / "test.npz") as test:
        calibration, evaluate, truth = train["x"], test["x"], test["y"]
    length, names = (784, ("grey",)) if name == "cnn" else (28, tuple(f"column{i}" for i in range(28)))
    if name == "lstm":
        calibration, evaluate = calibration[..., 0], evaluate[..., 0]
    recipe = Recipe(
        channels=tuple(Channel(name=channel, minimum=0, maximum=255) for channel in names),
        windowing=Windowing(length=length, stride=length, rate_hz=1),
        preprocess=SCALE,
    )

    done = convert(
        folder / f"{name}.keras",
        recipe,
        calibration=calibration,
        evaluate=(evaluate, truth),
        out=tmp_path / "out.edge",
    )

    for row in done.report:
        assert row.n == 1500
        assert row.float_value > 0.8
        assert row.float_value - row.quantized <= 0.005, row
    window = evaluate[0].reshape(length, len(names))
    assert Model.open(done).predict(Window("camera", 0, 1, window)).probabilities is not None


def test_calibration_divided_by_255_already_is_refused(folder: Path, tmp_path: Path) -> None:
    recipe = Recipe(channels=(Channel(name="grey", minimum=0, maximum=255),), preprocess=SCALE, rate_hz=1)
    with np.load(folder / "train.npz") as train, pytest.raises(ValueError, match="looks scaled already"):
        convert(folder / "cnn.keras", recipe, calibration=train["x"] / 255, out=tmp_path / "out.edge")
