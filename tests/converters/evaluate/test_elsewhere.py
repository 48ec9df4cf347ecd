"""Parity on runtimes of other environments: real ones, made for the purpose."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from converters.evaluate.elsewhere import answers_there, environments
from converters.pipeline import convert
from converters.recipe import Recipe
from edge_sdk.base.errors import ConfigError, ConversionError
from tests.converters.conftest import RECIPE
from tests.models import CHANNELS, LENGTH, onnx_model, weights


def _dense(folder: Path) -> Path:
    path = folder / "dense.onnx"
    path.write_bytes(onnx_model(weights()))
    return path


def test_a_variant_is_proved_in_the_other_environment_too(tmp_path: Path) -> None:
    windows = np.random.default_rng(3).normal(size=(40, LENGTH, CHANNELS)).astype(np.float32)

    done = convert(
        _dense(tmp_path),
        Recipe(rate_hz=1.0),
        calibration=windows,
        precision=("int8",),
        out=tmp_path / "out.edge",
        pythons=environments([f"onnxruntime={sys.executable}"]),
    )

    [row] = done.report
    parity = row.runtimes["onnxruntime"]
    assert parity.version == row.proved_on.split()[1]
    assert parity.worst == pytest.approx(row.worst, abs=1e-6)
    assert (parity.quantized, parity.interval) == (row.quantized, row.interval)
    assert parity.why == ""


def test_a_runtime_of_the_board_that_is_not_here_is_named(models: Path, tmp_path: Path) -> None:
    done = convert(
        models / "float.tflite",
        RECIPE,
        calibration=models / "train.npz",
        precision=("float32",),
        formats=("tflite",),
        board="generic-armv7",
        out=tmp_path / "out.edge",
    )

    [row] = done.report
    assert row.runtimes["litert"].version
    assert (row.runtimes["tflite"].version, row.runtimes["tflite"].worst) == ("", None)
    assert "--python tflite=PATH" in row.runtimes["tflite"].why
    assert any("was not run on tflite 2.14.0" in note for note in done.notes)


def test_a_model_that_fails_there_is_refused_with_the_last_words(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"fails on tflite .*No module named 'tflite_runtime'"):
        answers_there(sys.executable, "tflite", b"", "y", [np.zeros((1, 4), np.float32)])
    crash = tmp_path / "python"
    crash.write_text("#!/bin/sh\nkill -SEGV $$\n")
    crash.chmod(0o755)
    with pytest.raises(ConversionError, match="exit -11"):
        answers_there(str(crash), "litert", b"", "y", [np.zeros((1, 4), np.float32)])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("tflite", "wanted is RUNTIME=/path"),
        (f"tflit={sys.executable}", "Did you mean 'tflite'"),
        ("tflite=/no/such/python", "there is no /no/such/python"),
    ],
)
def test_an_environment_that_is_none_is_refused(given: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        environments([given])


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="tflite-runtime has no wheel for this Python")
def test_every_variant_is_proved_on_the_old_runtime_of_the_board(models: Path, tmp_path: Path) -> None:
    python = tmp_path / "old" / "bin" / "python"
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(tmp_path / "old")], check=True)
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", str(python), "tflite-runtime==2.14.0", "numpy<2"], check=True
    )

    done = convert(
        models / "model.keras",
        RECIPE,
        calibration=models / "train.npz",
        evaluate=models / "test.npz",
        precision=("int8", "int16x8", "dynamic", "float32"),
        board="generic-armv7",
        out=tmp_path / "out.edge",
        pythons=environments([f"tflite={python}"]),
    )

    for row in done.report:
        parity = row.runtimes["tflite"]
        assert parity.version == "2.14.0"
        assert parity.quantized == pytest.approx(row.quantized, abs=0.01)
        assert parity.worst is not None
        assert parity.worst < row.worst + 0.05
    assert not any("was not run on" in note for note in done.notes)
