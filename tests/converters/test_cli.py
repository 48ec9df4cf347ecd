from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from converters.cli import convert
from edge_sdk.base.errors import ConfigError, ConversionError
from edge_sdk.contract.bundle import read_bundle
from edge_sdk.contract.trust import SigningKey, Trust
from tests.models import CHANNELS, LENGTH, onnx_model, weights


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "dense.onnx").write_bytes(onnx_model(weights()))
    rng = np.random.default_rng(5)
    np.savez(tmp_path / "train.npz", x=rng.normal(size=(40, LENGTH, CHANNELS)), y=rng.integers(0, 3, 40))
    return tmp_path


def test_the_command_writes_a_signed_bundle_and_json(folder: Path) -> None:
    SigningKey.new().write(folder / "me.pem")
    arguments = [
        f"{folder}/dense.onnx", "--name", "gait", "--rate", "2", "--labels", "a,b,c", "--precision", "float32",
        "--calibration", f"{folder}/train.npz", "--evaluate", f"{folder}/train.npz", "--sign", f"{folder}/me.pem",
        "--json", f"{folder}/out.json", "-o", f"{folder}/out.edge",
    ]  # fmt: skip

    done = CliRunner().invoke(convert, arguments, catch_exceptions=False)

    assert done.exit_code == 0
    assert "signed by" in done.output
    bundle = read_bundle(folder / "out.edge", Trust.of([folder / "me.pem.pub"]))
    assert (bundle.manifest.name, bundle.manifest.labels) == ("gait", ("a", "b", "c"))
    [row] = json.loads((folder / "out.json").read_text())
    assert {
        "name", "precision", "format", "bytes", "metric", "float", "quantized", "interval", "latency_ms",
        "float_latency_ms", "coverage", "runtimes",
    } <= row.keys()  # fmt: skip
    assert row["float"] == row["quantized"]


def test_a_program_reads_nothing_but_json(folder: Path) -> None:
    arguments = [f"{folder}/dense.onnx", "--rate", "2", "--labels", "a,b,c", "--precision", "float32"]
    data = ["--calibration", f"{folder}/train.npz", "--evaluate", f"{folder}/train.npz", "-o", f"{folder}/out.edge"]

    done = CliRunner().invoke(convert, [*arguments, *data, "--json", "-"], catch_exceptions=False)

    assert json.loads(done.stdout)[0]["precision"] == "float32"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--precision", "int9"], "Did you mean 'int8'"),
        (["--format", "tflit"], "Did you mean 'tflite'"),
        (["--precision", "int16x8", "--format", "onnx"], "it exists as tflite"),
    ],
)
def test_a_word_that_is_not_known_gets_the_nearest(folder: Path, options: list[str], words: str) -> None:
    with pytest.raises(ConversionError, match=words):
        CliRunner().invoke(
            convert, [f"{folder}/dense.onnx", "-o", f"{folder}/out.edge", *options], catch_exceptions=False
        )


def test_a_shape_that_is_none_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"wanted is NAME=1,128,6"):
        CliRunner().invoke(
            convert, [f"{folder}/dense.onnx", "-o", f"{folder}/o.edge", "--input", "x=1,a"], catch_exceptions=False
        )


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x05\x06" + b"\0" * 18])
def test_a_file_that_is_no_model_is_refused_at_once(folder: Path, content: bytes) -> None:
    (folder / "thing.onnx").write_bytes(content)

    with pytest.raises(ConversionError, match=r"no (Keras )?model"):
        CliRunner().invoke(convert, [f"{folder}/thing.onnx", "-o", f"{folder}/out.edge"], catch_exceptions=False)

    assert not (folder / "out.edge").exists()
