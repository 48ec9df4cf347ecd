from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from converters.pipeline import Conversion, convert
from converters.recipe import Recipe
from edge_sdk.base.errors import CalibrationError, ConversionError
from edge_sdk.contract.bundle import read_bundle
from edge_sdk.contract.manifest import Step
from edge_sdk.contract.trust import SigningKey, Trust
from edge_sdk.contract.window import Window
from edge_sdk.inference.model import Model
from tests.converters.conftest import RECIPE
from tests.models import CHANNELS, LABELS, LENGTH, onnx_model, weights

SEEDED = np.random.default_rng(5)
X = SEEDED.normal(size=(60, LENGTH, CHANNELS)).astype(np.float32)
Y = SEEDED.integers(0, len(LABELS), 60)


@pytest.fixture
def onnx_file(tmp_path: Path) -> Path:
    path = tmp_path / "dense.onnx"
    path.write_bytes(onnx_model(weights()))
    return path


def test_every_variant_of_a_keras_model_stays_within_a_point_of_float(sines: Conversion) -> None:
    assert [(row.precision, row.format) for row in sines.report[:3]] == [
        ("int8", "tflite"),
        ("int8", "onnx"),
        ("float32", "tflite"),
    ]
    for row in sines.report:
        assert row.metric == "accuracy"
        assert row.float_value > 0.9
        assert row.quantized >= row.float_value - 0.01, row
        assert row.interval[0] <= row.quantized <= row.interval[1]
        assert row.n == 300
        assert row.latency_ms > 0
        assert row.float_latency_ms > 0
        assert row.bytes == len(sines.files[f"{row.precision}.{row.format}"])
        assert row.runtimes


@pytest.mark.parametrize("runtime", ["litert", "onnxruntime"])
@pytest.mark.parametrize("precision", ["int8", "float32", "dynamic"])
def test_a_station_opens_every_variant_and_gets_the_recorded_answers(
    sines: Conversion, signing_key: SigningKey, models: Path, runtime: str, precision: str
) -> None:
    model = Model.open(sines.path, trust=Trust((signing_key.public,)), runtime=runtime, precision=precision)
    with np.load(models / "test.npz") as data:
        x, y = data["x"][:100], data["y"][:100]

    answers = [model.predict(Window("left", 0, 1, window)).probabilities for window in x]

    assert model.check() <= model.backend.variant.tolerance
    assert (
        np.mean([answer is not None and answer.argmax() == truth for answer, truth in zip(answers, y, strict=True)])
        > 0.85
    )


def test_the_check_vectors_refuse_an_answer_of_zeros(sines: Conversion) -> None:
    for variant in sines.manifest.variants:
        recorded = sines.array(variant.check_output)
        assert np.abs(recorded).max(axis=1).min() > variant.tolerance, variant.file


def test_a_bundle_holds_what_the_recipe_says_and_where_it_came_from(sines: Conversion) -> None:
    manifest = sines.manifest

    assert (manifest.name, manifest.labels, manifest.preprocess) == ("sines", RECIPE.labels, RECIPE.preprocess)
    assert manifest.windowing == RECIPE.windowing
    assert manifest.provenance["source"].startswith("sha256:")
    assert manifest.provenance["calibration"].startswith("sha256:")
    assert {"tensorflow", "keras", "tf2onnx", "onnxruntime"} <= manifest.provenance["versions"].keys()


def test_the_same_input_gives_the_same_digest(onnx_file: Path, tmp_path: Path) -> None:
    first = convert(onnx_file, calibration=X, evaluate=(X, Y), out=tmp_path / "first.edge")
    second = convert(onnx_file, calibration=X, evaluate=(X, Y), out=tmp_path / "second.edge")

    assert first.digest == second.digest
    assert (tmp_path / "first.edge").read_bytes() == (tmp_path / "second.edge").read_bytes()


@pytest.mark.parametrize(
    ("source", "formats"),
    [
        pytest.param("saved_model", ("onnx", "tflite"), marks=pytest.mark.slow),
        ("logits.h5", ("tflite",)),
    ],
)
def test_other_sources_give_the_same_answers(
    models: Path, sines: Conversion, tmp_path: Path, source: str, formats: tuple[str, ...]
) -> None:
    done = convert(
        models / source,
        RECIPE,
        calibration=models / "train.npz",
        evaluate=models / "test.npz",
        formats=formats,
        out=tmp_path / "other.edge",
    )

    assert all(abs(row.quantized - sines.report[0].float_value) <= 0.02 for row in done.report)
    assert ("softmax" in " ".join(done.notes)) == (source == "logits.h5")


@pytest.mark.slow
def test_a_float_tflite_becomes_int8(models: Path, tmp_path: Path) -> None:
    done = convert(
        models / "float.tflite",
        RECIPE,
        calibration=models / "train.npz",
        evaluate=models / "test.npz",
        formats=("tflite",),
        precision=("int8", "float32"),
        out=tmp_path / "out.edge",
    )

    assert done.report[0].quantized >= done.report[1].quantized - 0.02
    assert done.files["float32.tflite"] == (models / "float.tflite").read_bytes()


def test_without_any_data_a_float_model_is_compared_on_random_windows(onnx_file: Path, tmp_path: Path) -> None:
    done = convert(onnx_file, precision=("float32", "dynamic"), out=tmp_path / "out.edge")

    assert [row.metric for row in done.report] == ["agreement", "agreement"]
    assert any("random windows" in note for note in done.notes)


def test_a_recipe_is_completed_by_what_the_model_says(onnx_file: Path, tmp_path: Path) -> None:
    done = convert(onnx_file, Recipe(rate_hz=2.0), calibration=X, out=tmp_path / "out.edge")

    assert done.manifest.name == "dense"
    assert done.manifest.labels == ("0", "1", "2")
    assert (done.manifest.windowing.length, done.manifest.windowing.rate_hz) == (LENGTH, 2.0)
    assert done.report[0].metric == "agreement"
    assert any("--evaluate" in note for note in done.notes)


def test_a_crash_of_the_converter_is_an_error_that_names_step_and_operator(models: Path, tmp_path: Path) -> None:
    x = SEEDED.normal(size=(20, 300, 1)).astype(np.float32)

    with pytest.raises(ConversionError, match=r"crashed \(SIG.*int8 tflite.*unroll=True.*operator #\d+, WHILE"):
        convert(models / "long.keras", calibration=x, formats=("tflite",), out=tmp_path / "out.edge")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_operator_that_tensorflow_refuses_is_named_with_the_cure(models: Path, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"operator TensorListReserve requires.*unroll=True"):
        convert(models / "loops", calibration=models / "train.npz", formats=("tflite",), out=tmp_path / "out.edge")


def test_a_recurrent_keras_model_is_unrolled_and_converts(models: Path, tmp_path: Path) -> None:
    done = convert(
        models / "recurrent.keras",
        calibration=models / "train.npz",
        evaluate=models / "test.npz",
        precision=("int8", "float32"),
        out=tmp_path / "out.edge",
    )

    assert [(row.precision, row.format) for row in done.report[:2]] == [("int8", "tflite"), ("int8", "onnx")]
    assert all(abs(row.quantized - row.float_value) < 0.03 for row in done.report)
    assert len(done.files["int8.onnx"]) < 2.5 * len(done.files["float32.onnx"])
    assert any("unrolled over 32 steps" in note for note in done.notes)


def test_nan_weights_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "nan.onnx"
    path.write_bytes(onnx_model(weights() * np.float32("nan")))

    with pytest.raises(ConversionError, match=r"weight 'w' holds NaN"):
        convert(path, calibration=X, out=tmp_path / "out.edge")

    assert not (tmp_path / "out.edge").exists()


@pytest.mark.slow
def test_nan_weights_of_a_keras_model_are_refused_by_name(models: Path, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"kernel.*NaN"):
        convert(models / "nan.keras", calibration=models / "train.npz", out=tmp_path / "out.edge")

    assert list(tmp_path.iterdir()) == []


def test_labels_that_the_model_does_not_have_are_refused(onnx_file: Path, tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="from 0 to 9; the model knows 0 to 2"):
        convert(onnx_file, calibration=X, evaluate=(X, np.arange(60) % 10), out=tmp_path / "out.edge")


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (Recipe(labels=("a", "b")), "3 values, and the recipe has 2 labels"),
        (Recipe(task="regression", unit="m"), "a regression answers with one"),
    ],
)
def test_a_recipe_that_contradicts_the_model_is_refused(
    onnx_file: Path, tmp_path: Path, recipe: Recipe, words: str
) -> None:
    with pytest.raises(ConversionError, match=words):
        convert(onnx_file, recipe, calibration=X, out=tmp_path / "out.edge")


def test_windows_of_another_shape_are_refused(onnx_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"takes \(1, 4, 2\).*5 samples of 2 channels"):
        convert(onnx_file, calibration=np.ones((3, 5, 2), np.float32), out=tmp_path / "out.edge")


def test_int8_without_calibration_is_refused_before_anything_is_loaded(onnx_file: Path, tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="int8 needs calibration data"):
        convert(onnx_file, out=tmp_path / "out.edge")


def test_calibration_and_evaluation_in_different_units_are_refused(onnx_file: Path, tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="not the same units"):
        convert(onnx_file, calibration=X, evaluate=(X * 255, Y), out=tmp_path / "out.edge")


def test_a_bundle_that_was_there_stays_when_the_conversion_fails(onnx_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.edge"
    convert(onnx_file, calibration=X, out=out)
    before = out.read_bytes()

    with pytest.raises(ConversionError):
        convert(onnx_file, Recipe(labels=("a", "b")), calibration=X, out=out)

    assert out.read_bytes() == before
    assert read_bundle(out, Trust(allow_unsigned=True)).manifest.labels == ("0", "1", "2")


def test_onnx_does_not_pretend_to_become_tflite(onnx_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="cannot become TFLite"):
        convert(onnx_file, calibration=X, formats=("tflite",), out=tmp_path / "out.edge")


def test_preprocessing_on_other_windows_than_the_stations_is_refused(onnx_file: Path, tmp_path: Path) -> None:
    image = onnx.load(onnx_file)
    image.graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, 2, 4, 1)))
    onnx.save(image, onnx_file)
    recipe = Recipe(rate_hz=1, preprocess=(Step(kind="scale", options={"factor": 2.0}),))

    with pytest.raises(ConversionError, match="windows of 2 samples of 4 channels, the station will have 8 of 1"):
        convert(onnx_file, recipe, calibration=X.reshape(60, 2, 4), out=tmp_path / "out.edge")
