"""Every bad input of a conversion: an error with the next step, an exit code above 0, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import joblib
import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from converters.cli import convert
from converters.commands.check import check
from edge_sdk.base.errors import EdgeError
from tests.converters.conftest import ROOT
from tests.models import CHANNELS, LENGTH, onnx_model, tflite_model, weights

CORAL = ROOT.parent / "shared" / "models" / "coral-edgetpu"
X = np.random.default_rng(5).normal(size=(40, LENGTH, CHANNELS)).astype(np.float32)


def refused(command: click.Command, *arguments: str | Path) -> tuple[int, str]:
    """Run a command that must fail; its exit code and message."""
    with pytest.raises(EdgeError) as caught:
        CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)
    return caught.value.exit_code, str(caught.value)


def _text(folder: Path) -> Path:
    path = folder / "m.tflite"
    path.write_text("this is no model")
    return path


def _cut_onnx(folder: Path) -> Path:
    path = folder / "m.onnx"
    path.write_bytes(onnx_model(weights())[:120])
    return path


def _cut_tflite(folder: Path) -> Path:
    path = folder / "m.tflite"
    path.write_bytes(tflite_model(weights())[:300])
    return path


def _missing(folder: Path) -> Path:
    return folder / "missing.keras"


def _bare_folder(folder: Path) -> Path:
    (folder / "m").mkdir()
    return folder / "m"


def _zip(folder: Path) -> Path:
    path = folder / "m.npz"
    np.savez(path, x=X)
    return path


def _nan(folder: Path) -> Path:
    path = folder / "m.onnx"
    path.write_bytes(onnx_model(weights() * np.float32("nan")))
    return path


def _custom_onnx(folder: Path) -> Path:
    model = onnx.load_from_string(onnx_model(weights()))
    model.graph.node[0].domain = "my.domain"
    model.opset_import.append(onnx.helper.make_opsetid("my.domain", 1))
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def _custom_tflite(folder: Path) -> Path:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAs(tflite_model(weights()), 0))
    code = tree.operatorCodes[1]
    code.builtinCode, code.deprecatedBuiltinCode, code.customCode = 32, 32, b"MyOwnSoftmax"
    tree.subgraphs[0].operators[1].builtinOptionsType, tree.subgraphs[0].operators[1].builtinOptions = 0, None
    builder = flatbuffers.Builder(1024)
    builder.Finish(tree.Pack(builder), file_identifier=b"TFL3")
    path = folder / "m.tflite"
    path.write_bytes(bytes(builder.Output()))
    return path


def _integers(folder: Path) -> Path:
    model = onnx.load_from_string(onnx_model(weights()))
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    model.graph.node.insert(0, onnx.helper.make_node("Cast", ["x"], ["real"], to=onnx.TensorProto.FLOAT))
    model.graph.node[1].input[0] = "real"
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def _no_estimator(folder: Path) -> Path:
    joblib.dump({"a": 1}, folder / "m.joblib")
    return folder / "m.joblib"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_text, "is no model that is known here"),
        (_missing, "cannot be read: No such file"),
        (_bare_folder, "without saved_model.pb"),
        (_zip, "no Keras model: it has no config.json"),
        (_cut_onnx, "is no valid ONNX model"),
        (_cut_tflite, "is no TFLite model that LiteRT runs"),
        (_nan, "weight 'w' holds NaN"),
        (_custom_onnx, "operators that ONNX does not define: my.domain.Flatten"),
        (_custom_tflite, "MyOwnSoftmax"),
        (_integers, "input 'x' is no float32"),
        (_no_estimator, "wanted is a fitted scikit-learn estimator"),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
def test_what_is_no_model_to_convert_is_refused(tmp_path: Path, make: Callable[[Path], Path], words: str) -> None:
    np.save(tmp_path / "x.npy", X)
    model = make(tmp_path)
    before = sorted(tmp_path.rglob("*"))

    code, message = refused(convert, model, "--calibration", tmp_path / "x.npy", "-o", tmp_path / "out.edge")

    assert code == 65
    assert words in message
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(onnx_model(weights()))
    return path


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (X[:0], "is empty"),
        (X[:, :3], "takes (1, 4, 2); the data has windows of 3 samples of 2 channels"),
        (X * np.float32("inf"), "windows with NaN or infinity"),
        (X.astype("U8"), "dtype <U8"),
    ],
)
def test_data_that_no_model_can_be_calibrated_with_is_refused(
    tmp_path: Path, model: Path, x: np.ndarray, words: str
) -> None:
    np.save(tmp_path / "x.npy", x)

    code, message = refused(convert, model, "--calibration", tmp_path / "x.npy", "-o", tmp_path / "out.edge")

    assert code == 65
    assert words in message
    assert not (tmp_path / "out.edge").exists()


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--board", "raspberypi5"], 78, "Did you mean 'raspberry-pi-5'"),
        (["--board", "coral-dev-board"], 65, "runs tflite; "),
        (["--precision", "int7"], 65, "Did you mean 'int8'"),
        (["--format", "tflight"], 65, "Did you mean 'tflite'"),
        (["--format", "tflite"], 65, "cannot become TFLite here"),
        (["--input", "x=4"], 65, "They contradict"),
        (["--input", "x"], 78, "wanted is NAME=1,128,6"),
        (["--labels", "a,b"], 65, "3 values, and the recipe has 2 labels"),
        (["--sign", "nothing.pem"], 78, "Signing key nothing.pem cannot be read"),
        (["--recipe", "nothing.yaml"], 78, "nothing.yaml cannot be read"),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused(
    tmp_path: Path, model: Path, options: list[str], code: int, words: str
) -> None:
    np.save(tmp_path / "x.npy", X)

    given = refused(convert, model, "--calibration", tmp_path / "x.npy", *options, "-o", tmp_path / "out.edge")

    assert given[0] == code
    assert words in given[1]
    assert not (tmp_path / "out.edge").exists()


def test_labels_out_of_range_are_refused(tmp_path: Path, model: Path) -> None:
    np.savez(tmp_path / "d.npz", x=X, y=np.arange(len(X)))

    code, message = refused(
        convert, model, "--calibration", tmp_path / "d.npz", "--evaluate", tmp_path / "d.npz",
        "-o", tmp_path / "out.edge",
    )  # fmt: skip

    assert code == 65
    assert "labels from 0 to 39; the model knows 0 to 2" in message


def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path, model: Path) -> None:
    np.save(tmp_path / "x.npy", X)

    for place, words in ((tmp_path, "is a folder"), (model / "out.edge", "is no folder that you may write in")):
        code, message = refused(convert, model, "--calibration", tmp_path / "x.npy", "-o", place)
        assert code == 65
        assert words in message


@pytest.mark.skipif(not CORAL.is_dir(), reason="the Coral models are not at ../shared/models")
def test_a_model_that_is_compiled_already_is_recognised(tmp_path: Path) -> None:
    compiled = CORAL / "mobilenet_v1_0.25_128_quant_edgetpu.tflite"

    code, message = refused(convert, compiled, "--precision", "float32", "-o", tmp_path / "out.edge")
    assert (code, "is compiled for the Edge TPU already" in message) == (65, True)
    code, message = refused(check, compiled, "--board", "raspberry-pi-5")
    assert (code, "Raspberry Pi 5 (4 GB and more) has none" in message) == (65, True)
    done = CliRunner().invoke(check, [str(compiled), "--board", "coral-dev-board"], catch_exceptions=False)
    assert "compiled for the Edge TPU already" in done.output
    code, message = refused(
        convert, CORAL / "mobilenet_v1_0.25_128_quant.tflite", "--precision", "float32", "-o", tmp_path / "o.edge"
    )
    assert (code, "is quantized already" in message) == (65, True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("what", ["bundle", "scratch"])
def test_no_space_left_is_an_error_and_leaves_nothing(tmp_path: Path, small_disk: Path, what: str) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(onnx_model(weights()))
    np.save(tmp_path / "x.npy", np.repeat(X, 200, axis=0))
    if what == "bundle":
        (small_disk / "filler").write_bytes(bytes(60 * 1024))
    out = small_disk / "out.edge" if what == "bundle" else tmp_path / "out.edge"
    before = sorted(small_disk.iterdir())

    done = subprocess.run(
        [sys.executable, "-m", "edge_sdk.cli", "convert", str(model), "--calibration", str(tmp_path / "x.npy"),
         "-o", str(out)],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, **({"TMPDIR": str(small_disk)} if what == "scratch" else {})},
    )  # fmt: skip

    assert done.returncode == 65
    assert "No space left on device" in done.stderr or "No space is left" in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()
    assert sorted(small_disk.iterdir()) == before
