from __future__ import annotations

from pathlib import Path

import joblib
import numpy as np
import onnx
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from converters.load.witness import Witness
from converters.pipeline import convert
from converters.recipe import Recipe
from edge_sdk.base.errors import CalibrationError
from edge_sdk.contract.manifest import Step
from tests.converters.conftest import RECIPE, ROOT

MLPERF = ROOT.parent / "shared" / "models" / "mlperf-tiny"
RNG = np.random.default_rng(4)


def test_data_as_in_training_is_let_through() -> None:
    values = RNG.normal(0, 3, (200, 5, 4))

    witness = Witness.of("bn", np.array([3.0, 2.8, 3.1, 0.0]), values)

    assert witness is not None
    assert witness.ratio == pytest.approx(1.0, rel=0.1)
    witness.judge("calibration", np.zeros((2, 2), np.float32))


def test_data_that_is_255_times_too_narrow_is_refused_with_both_ranges() -> None:
    witness = Witness("bn", trained=25.5, seen=0.1, ratio=0.1 / 25.5)

    with pytest.raises(CalibrationError, match=r"from 0 to 1 after preprocessing; it was trained on about 0 to 255"):
        witness.judge("calibration", np.array([[0.0, 1.0]], np.float32))


def test_a_layer_without_a_spread_says_nothing() -> None:
    assert Witness.of("bn", np.zeros(3), np.ones((4, 3))) is None


def test_a_scikit_learn_scaler_refuses_data_in_other_units(tmp_path: Path) -> None:
    y = RNG.integers(0, 2, 300)
    x = (RNG.normal(0, 20, (300, 6)) + 40 * y[:, None]).astype(np.float32)
    joblib.dump(make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y), tmp_path / "scaled.joblib")

    with pytest.raises(CalibrationError, match=r"layer '.*' sees values .* narrower than in training"):
        convert(
            tmp_path / "scaled.joblib", calibration=x / 1000, precision=("float32",), out=tmp_path / "out.edge"
        )  # fmt: skip


def test_a_batch_normalisation_in_onnx_refuses_data_in_other_units(tmp_path: Path) -> None:
    path = tmp_path / "bn.onnx"
    path.write_bytes(_normalising())
    x = RNG.normal(0, 50, (60, 4, 2)).astype(np.float32)

    convert(path, calibration=x, precision=("float32",), out=tmp_path / "right.edge")
    with pytest.raises(CalibrationError, match=r"layer 'norm' sees values .* narrower"):
        convert(path, calibration=x / 255, precision=("float32",), out=tmp_path / "out.edge")

    assert not (tmp_path / "out.edge").exists()


@pytest.mark.slow
def test_a_keras_model_refuses_data_that_its_recipe_does_not_scale(models: Path, tmp_path: Path) -> None:
    with np.load(models / "train.npz") as data:
        x = data["x"]
    recipe = Recipe(preprocess=(Step(kind="scale", options={"factor": 10.0}),), windowing=RECIPE.windowing)

    with pytest.raises(CalibrationError, match="wider than in training"):
        convert(models / "model.keras", recipe, calibration=x, formats=("tflite",), out=tmp_path / "out.edge")


@pytest.mark.slow
@pytest.mark.skipif(not MLPERF.is_dir(), reason="the MLPerf Tiny models are not at ../shared/models")
@pytest.mark.parametrize(
    ("model", "shape", "given", "words"),
    [
        ("pretrainedResnet.h5", (32, 32, 3), 1.0, r"from 0 to 1 after preprocessing; it was trained on about 0 to 2"),
        ("vww_96.h5", (96, 96, 3), 255.0, r"from 0 to 255 after preprocessing; it was trained on about 0 to "),
        ("ad01.h5", (640,), 25500.0, "wider than in training"),
        ("vww_96.h5", (32, 32, 3), 1.0, r"takes \(1, 96, 96, 3\); the data has windows of 1024 samples of 3"),
        ("pretrainedResnet.h5", (640,), 255.0, r"takes \(1, 32, 32, 3\)"),
        ("ad01.h5", (96, 96, 3), 1.0, r"takes \(1, 640\)"),
    ],
)
def test_what_one_mlperf_tiny_model_takes_is_refused_for_another(
    tmp_path: Path, model: str, shape: tuple[int, ...], given: float, words: str
) -> None:
    steps = np.cumsum(RNG.normal(size=(60, *shape)), axis=1)
    x = (steps - steps.min()) / np.ptp(steps) * given
    recipe = Recipe(task="regression", reconstructs=True) if model == "ad01.h5" else Recipe()

    with pytest.raises(ValueError, match=words) if "takes" not in words else pytest.raises(RuntimeError, match=words):
        convert(
            MLPERF / model, recipe, calibration=x.astype(np.float32), formats=("tflite",), out=tmp_path / "out.edge"
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def _normalising() -> bytes:
    """A batch normalisation that learned a spread of 50, and a dense layer."""
    helper, info, kind = onnx.helper, onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    constants = {
        "scale": np.ones(4), "shift": np.zeros(4), "mean": np.zeros(4), "variance": np.full(4, 2500.0),
        "w": RNG.normal(size=(8, 3)),
    }  # fmt: skip
    graph = helper.make_graph(
        [
            helper.make_node("BatchNormalization", ["x", "scale", "shift", "mean", "variance"], ["n"], name="norm"),
            helper.make_node("Flatten", ["n"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["z"]),
            helper.make_node("Softmax", ["z"], ["p"]),
        ],
        "normalising",
        [info("x", kind, [1, 4, 2])],
        [info("p", kind, [1, 3])],
        [onnx.numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    )
