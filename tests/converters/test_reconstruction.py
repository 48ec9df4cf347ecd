from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks._mlperf import realistic
from converters.pipeline import convert
from converters.recipe import Recipe
from edge_sdk.contract.window import Window
from edge_sdk.inference.model import Model
from tests.converters.conftest import ROOT

AD01 = ROOT.parent / "shared" / "models" / "mlperf-tiny" / "ad01.h5"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not AD01.is_file(), reason="the MLPerf Tiny models are not at ../shared/models"),
]


def test_an_int8_autoencoder_tells_the_unusual_from_the_usual_as_the_float_one_does(tmp_path: Path) -> None:
    usual, unusual = realistic("ad01", 300, 7), realistic("ad01", 150, 8)
    unusual = unusual + np.random.default_rng(9).normal(0, 14, unusual.shape).astype(np.float32)
    x = np.concatenate([usual[150:], unusual])

    done = convert(
        AD01,
        Recipe(task="regression", reconstructs=True, rate_hz=1),
        calibration=usual[:150],
        evaluate=(x, np.repeat([0, 1], 150)),
        formats=("tflite",),
        precision=("int8", "float32"),
        out=tmp_path / "ad01.edge",
    )

    int8, floating = done.report
    assert int8.metric == "auc"
    assert floating.quantized > 0.9
    assert abs(int8.quantized - int8.float_value) <= 0.005
    told = []
    for precision in ("int8", "float32"):
        model = Model.open(done, precision=precision)
        told.append([model.predict(Window("sound", 0, 1, window[None])).value or 0.0 for window in x[::15]])
    np.testing.assert_allclose(told[0], told[1], rtol=0.1)
