from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from converters.commands.check import check
from edge_sdk.base.errors import ConfigError, ConversionError
from tests.models import onnx_model, tflite_model, tiny_bundle, weights


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "dense.tflite"
    path.write_bytes(tflite_model(weights()))
    return path


def test_what_a_board_takes_is_told_operator_by_operator(model: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        check, [str(model), "--board", "coral-dev-board", "--all", "--json", f"{tmp_path}/fit.json"],
        catch_exceptions=False,
    )  # fmt: skip

    assert done.exit_code == 0
    [fit] = json.loads((tmp_path / "fit.json").read_text())
    assert [each["delegate"] for each in fit["delegations"]] == ["edgetpu", "xnnpack"]
    assert fit["delegations"][0]["share_of_operations"] == 1.0
    assert "not compiled" in fit["delegations"][0]["notes"][0]
    softmax = fit["delegations"][1]["verdicts"][1]
    assert (softmax["operator"], softmax["is_delegated"]) == ("SOFTMAX", False)


def test_a_program_reads_nothing_but_json(model: Path) -> None:
    done = CliRunner().invoke(check, [str(model), "--board", "coral-dev-board", "--json", "-"], catch_exceptions=False)

    assert len(json.loads(done.stdout)) == 1


def test_a_share_that_is_not_reached_fails_with_the_operator_and_the_cure(model: Path) -> None:
    arguments = [str(model), "--board", "coral-dev-board", "--precision", "float32", "--require-delegated", "0.95"]

    with pytest.raises(ConversionError, match=r"edgetpu takes 0%.*FULLY_CONNECTED.*float32; wanted is int8"):
        CliRunner().invoke(check, arguments, catch_exceptions=False)


def test_a_board_without_int8_dot_products_is_warned_of(model: Path) -> None:
    done = CliRunner().invoke(check, [str(model), "--board", "raspberry-pi-4"], catch_exceptions=False)

    assert "no int8 dot products" in done.output


def test_every_variant_of_a_bundle_that_the_board_can_read_is_judged(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "tiny.edge")

    done = CliRunner().invoke(
        check, [str(bundle.path), "--board", "jetson-orin-nano", "--json", f"{tmp_path}/fit.json"],
        catch_exceptions=False,
    )  # fmt: skip

    assert done.exit_code == 0
    assert [fit["format"] for fit in json.loads((tmp_path / "fit.json").read_text())] == ["tflite", "onnx"]


def test_a_format_that_the_board_cannot_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "dense.onnx"
    path.write_bytes(onnx_model(weights()))

    with pytest.raises(ConversionError, match="runs tflite, not onnx"):
        CliRunner().invoke(check, [str(path), "--board", "coral-dev-board"], catch_exceptions=False)


def test_a_format_without_delegates_is_said_to_run_on_the_cpu(tmp_path: Path) -> None:
    path = tmp_path / "dense.onnx"
    path.write_bytes(onnx_model(weights()))

    told = CliRunner().invoke(check, [str(path), "--board", "raspberry-pi-4"], catch_exceptions=False)

    assert "No delegate there takes onnx: the CPU runs all of it." in told.output


def test_an_unknown_board_gets_the_nearest_name(model: Path) -> None:
    for given in ("raspbery-pi-5", "pi-5"):
        with pytest.raises(ConfigError, match="Did you mean 'raspberry-pi-5'"):
            CliRunner().invoke(check, [str(model), "--board", given], catch_exceptions=False)
