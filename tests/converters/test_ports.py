from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest

from converters.load.ports import choose_outputs, join_inputs
from converters.pipeline import convert
from converters.recipe import Recipe
from edge_sdk.base.errors import ConversionError
from edge_sdk.contract.window import Window
from edge_sdk.inference.model import Model
from tests.converters.conftest import RECIPE
from tests.models import LABELS

X = np.random.default_rng(3).normal(size=(80, 4, 3)).astype(np.float32)


def test_inputs_of_one_length_lie_side_by_side_as_channels() -> None:
    shape, ports = join_inputs("m", [("acc", (1, 50, 3)), ("gyro", (1, 50, 2))])

    assert shape == (1, 50, 5)
    assert [(port.name, port.begin, port.end) for port in ports] == [("acc", 0, 3), ("gyro", 3, 5)]


def test_a_value_beside_a_series_takes_the_last_sample() -> None:
    shape, ports = join_inputs("m", [("place", (1, 2)), ("acc", (1, 50, 3))])

    assert shape == (1, 50, 5)
    assert [port.is_last for port in ports] == [True, False]


def test_vectors_become_one_vector() -> None:
    assert join_inputs("m", [("a", (1, 4)), ("b", (1, 3))])[0] == (1, 7)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([], "has no input"),
        ([("a", (1, 50, 3)), ("b", (1, 40, 3))], "of different lengths"),
        ([("a", (1, 8, 8, 3)), ("b", (1, 4))], "beside an image"),
    ],
)
def test_inputs_that_no_one_window_holds_are_refused(inputs: list[tuple[str, tuple[int, ...]]], words: str) -> None:
    with pytest.raises(ConversionError, match=words):
        join_inputs("m", inputs)


@pytest.mark.parametrize(
    ("outputs", "answer", "features", "wanted"),
    [
        (["p"], "", "", ("p", "")),
        (["p", "f"], "", "", ("p", "f")),
        (["f", "p"], "p", "", ("p", "f")),
        (["f", "p"], "", "f", ("p", "f")),
        (["p", "f", "g"], "p", "", ("p", "")),
        (["p"], "", "dense", ("p", "dense")),
    ],
)
def test_the_first_output_answers_unless_another_is_named(
    outputs: list[str], answer: str, features: str, wanted: tuple[str, str]
) -> None:
    assert choose_outputs("m", outputs, answer, features, inner=["dense"]) == wanted


@pytest.mark.parametrize(
    ("outputs", "answer", "features", "words"),
    [
        (["p", "f", "g"], "", "", "has 3 outputs .*answer: p"),
        (["label"], "lable", "", "Did you mean 'label'"),
        (["label"], "", "dens", "Did you mean 'dense'"),
    ],
)
def test_an_output_that_is_not_there_is_refused(outputs: list[str], answer: str, features: str, words: str) -> None:
    with pytest.raises(ConversionError, match=words):
        choose_outputs("m", outputs, answer, features, inner=["dense"])


def test_a_keras_model_of_two_inputs_and_two_outputs_answers_and_hands_on_features(
    models: Path, tmp_path: Path
) -> None:
    done = convert(
        models / "two_ports.keras",
        msgspec.structs.replace(RECIPE, answer="label"),
        calibration=models / "train.npz",
        evaluate=models / "test.npz",
        out=tmp_path / "out.edge",
    )

    assert [row.format for row in done.report] == ["tflite", "onnx"]
    for row in done.report:
        assert row.float_value > 0.8
        assert row.quantized >= row.float_value - 0.03
        assert row.features_error is not None
        assert row.features_error < 0.1
    assert any("'left' takes channels 0 to 0, 'right' takes channels 1 to 1" in note for note in done.notes)
    with np.load(models / "test.npz") as data:
        window = data["x"][0]
    for runtime in ("litert", "onnxruntime"):
        prediction = Model.open(done, runtime=runtime).predict(Window("left", 0, 1, window))
        assert prediction.probabilities is not None
        assert prediction.features is not None
        assert prediction.features.shape == (5,)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["two_outputs", "two_outputs.tflite"])
def test_other_sources_of_two_outputs_keep_answer_and_features_apart(models: Path, tmp_path: Path, source: str) -> None:
    done = convert(
        models / source,
        msgspec.structs.replace(RECIPE, answer=_output_of_three(models / source)),
        calibration=models / "train.npz",
        evaluate=models / "test.npz",
        precision=("int8", "float32"),
        out=tmp_path / "out.edge",
    )

    for row in done.report:
        assert row.float_value > 0.8
        assert row.quantized >= row.float_value - 0.03
        assert row.features_error is not None
        assert row.features_error < 0.1


def _output_of_three(path: Path) -> str:
    """The name of the output that has a value for each class: exporters choose names of their own."""
    if path.is_dir():
        return "output_1"
    from ai_edge_litert.interpreter import Interpreter

    details = Interpreter(model_path=str(path)).get_output_details()
    return next(str(detail["name"]) for detail in details if tuple(detail["shape"]) == (1, 3))


def test_a_layer_of_an_onnx_model_is_handed_on_as_features(tmp_path: Path) -> None:
    path = tmp_path / "two.onnx"
    path.write_bytes(_two_inputs())

    done = convert(path, Recipe(features="hidden"), calibration=X, precision=("float32",), out=tmp_path / "out.edge")

    [variant] = done.manifest.variants
    assert [spec.name for spec in variant.outputs] == ["p", "hidden"]
    assert variant.inputs[0].shape == (1, 4, 3)
    prediction = Model.open(done).predict(Window("w", 0, 1, X[0]))
    hidden = np.concatenate([X[0, :, :2].mean(axis=0), X[0, -1, 2:]])
    assert prediction.features is not None
    np.testing.assert_allclose(prediction.features, hidden, atol=1e-5)


def test_an_estimators_onnx_with_label_and_probabilities_keeps_the_probabilities(tmp_path: Path) -> None:
    path = tmp_path / "labelled.onnx"
    path.write_bytes(_with_label())

    done = convert(path, calibration=X[:, 0], precision=("float32",), out=tmp_path / "out.edge")

    assert [spec.name for spec in done.manifest.variants[0].outputs] == ["p"]
    assert any("'label' is no number" in note for note in done.notes)


def test_a_model_with_nothing_but_a_label_is_refused(tmp_path: Path) -> None:
    model = onnx.load_from_string(_with_label())
    del model.graph.output[1]
    path = tmp_path / "label.onnx"
    path.write_bytes(model.SerializeToString())

    with pytest.raises(ConversionError, match="no output of numbers, only label"):
        convert(path, calibration=X[:, 0], out=tmp_path / "out.edge")


def _two_inputs() -> bytes:
    """A series of two channels is averaged, a value is put beside it; a dense layer and a softmax."""
    helper, info, kind = onnx.helper, onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    w = np.random.default_rng(1).normal(size=(3, len(LABELS))).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["series"], ["mean"], axes=[1], keepdims=0),
            helper.make_node("Concat", ["mean", "value"], ["hidden"], axis=-1),
            helper.make_node("MatMul", ["hidden", "w"], ["z"]),
            helper.make_node("Softmax", ["z"], ["p"]),
        ],
        "two",
        [info("series", kind, ["n", 4, 2]), info("value", kind, ["n", 1])],
        [info("p", kind, ["n", len(LABELS)])],
        [onnx.numpy_helper.from_array(w, "w")],
    )  # fmt: skip
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    )


def _with_label() -> bytes:
    """As skl2onnx writes a classifier: the label first, then the probabilities."""
    helper, info, kind = onnx.helper, onnx.helper.make_tensor_value_info, onnx.TensorProto
    w = np.random.default_rng(1).normal(size=(3, len(LABELS))).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["z"]),
            helper.make_node("Softmax", ["z"], ["p"]),
            helper.make_node("ArgMax", ["p"], ["label"], axis=1, keepdims=0),
        ],
        "labelled",
        [info("x", kind.FLOAT, ["n", 3])],
        [info("label", kind.INT64, ["n"]), info("p", kind.FLOAT, ["n", len(LABELS)])],
        [onnx.numpy_helper.from_array(w, "w")],
    )  # fmt: skip
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    )
