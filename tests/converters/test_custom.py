from __future__ import annotations

from pathlib import Path

import pytest

from converters.custom import digests, load
from converters.pipeline import convert
from edge_sdk.base.errors import ConfigError, ConversionError
from tests.converters.conftest import RECIPE

LAYERS = "tests.converters.custom_layers"


def test_a_layer_that_keras_does_not_know_is_named_with_what_to_do(models: Path, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"does not know Squash \(layer 'squash'\).*--custom-objects module"):
        convert(models / "custom.keras", RECIPE, calibration=models / "train.npz", out=tmp_path / "out.edge")


@pytest.mark.slow
def test_a_lambda_is_named_and_never_run(models: Path, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="layer 'doubled' is a Lambda"):
        convert(models / "lambda.keras", RECIPE, calibration=models / "train.npz", out=tmp_path / "out.edge")


@pytest.mark.slow
@pytest.mark.parametrize(("file", "given"), [("custom.keras", LAYERS), ("custom.h5", f"{LAYERS}:Squash")])
def test_a_layer_that_is_brought_along_converts(models: Path, tmp_path: Path, file: str, given: str) -> None:
    done = convert(
        models / file,
        RECIPE,
        calibration=models / "train.npz",
        evaluate=models / "test.npz",
        out=tmp_path / "out.edge",
        custom_objects=[given],
    )

    assert {row.format for row in done.report} == {"tflite", "onnx"}
    assert all(row.worst < 0.1 for row in done.report)


def test_a_module_gives_the_classes_that_it_defines_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_layers.py").write_text("from pathlib import Path\n\nclass Squash: ...\nclass Stretch: ...\n")
    monkeypatch.chdir(tmp_path)

    assert set(load(["my_layers"])) == {"Squash", "Stretch"}
    assert set(load(["my_layers:Stretch"])) == {"Stretch"}
    with pytest.raises(ConversionError, match="Did you mean 'Squash'"):
        load(["my_layers:Squish"])


def test_another_layer_is_another_conversion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "their_layers.py").write_text("class Squash: ...\n")
    before = digests(["their_layers"])
    (tmp_path / "their_layers.py").write_text("class Squash: pass\n")

    assert digests(["their_layers"]) != before


@pytest.mark.parametrize("given", ["no_such_module", "no.such.module", "rm -rf", "a:b:c"])
def test_a_module_that_is_not_there_is_refused(given: str) -> None:
    with pytest.raises(ConfigError, match=r"There is no module|not understood"):
        digests([given])
