from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from converters.commands.bench import bench
from edge_sdk.base.errors import (
    BackendUnavailableError,
    BundleError,
    InferenceError,
    MissingExtraError,
    WrongAnswerError,
)
from tests.models import tiny_bundle


def timed(directory: Path, *options: str) -> Result:
    """Time a tiny bundle."""
    path = str(tiny_bundle(directory / "tiny.edge").path)
    return CliRunner().invoke(bench, [path, "--rounds", "2", "--json", f"{directory}/times.json", *options])


def ran(directory: Path, *options: str) -> list[tuple[str, dict[str, float]]]:
    """Format and what took how much, of each that was timed."""
    done = timed(directory, *options)
    assert done.exit_code == 0, done.output
    timings = json.loads((directory / "times.json").read_text())
    return [(each["format"], each["delegates"]) for each in timings]


def test_two_bundles_are_timed_in_turn(tmp_path: Path) -> None:
    one, other = tiny_bundle(tmp_path / "one.edge"), tiny_bundle(tmp_path / "other.edge", seed=1)

    done = CliRunner().invoke(
        bench, [str(one.path), "--against", str(other.path), "--rounds", "3", "--json", f"{tmp_path}/times.json"],
        catch_exceptions=False,
    )  # fmt: skip

    assert done.exit_code == 0
    timings = json.loads((tmp_path / "times.json").read_text())
    assert [(each["bundle"], each["format"]) for each in timings] == [
        ("one.edge", "tflite"), ("one.edge", "onnx"), ("other.edge", "tflite"), ("other.edge", "onnx"),
    ]  # fmt: skip
    for each in timings:
        assert 0 < each["p50_ms"] <= each["p95_ms"] <= each["p99_ms"]
        assert each["cold_ms"] > each["p50_ms"]
        assert each["rss_bytes"] > 10_000_000


def test_memory_is_that_of_a_variants_own_process_however_large_the_one_that_asks(tmp_path: Path) -> None:
    ballast = np.ones(75_000_000)  # 600 MB, all of it touched
    bundle = tiny_bundle(tmp_path / "one.edge")

    done = CliRunner().invoke(bench, [str(bundle.path), "--rounds", "1", "--json", f"{tmp_path}/times.json"])

    assert done.exit_code == 0
    assert all(each["rss_bytes"] < ballast.nbytes / 2 for each in json.loads((tmp_path / "times.json").read_text()))


def test_what_really_ran_is_reported_with_its_share(tmp_path: Path, delegate_library: str) -> None:
    assert ran(tmp_path) == [("tflite", {"xnnpack": 1.0}), ("onnx", {"CPUExecutionProvider": 1.0})]
    assert ran(tmp_path, "--runtime", "onnx") == [("onnx", {"CPUExecutionProvider": 1.0})]
    assert ran(tmp_path, "--runtime", "litert", "--delegate", "none") == [("tflite", {})]
    mine = {Path(delegate_library).name: 0.5, "xnnpack": 0.5}
    assert ran(tmp_path, "--runtime", "litert", "--delegate", delegate_library, "--option", "mode=right") == [
        ("tflite", mine)
    ]


def test_a_forced_delegate_is_never_replaced_by_the_cpu(tmp_path: Path, delegate_library: str) -> None:
    mine = ("--runtime", "litert", "--delegate", delegate_library)

    assert isinstance(timed(tmp_path, "--delegate", "edgetpu").exception, BackendUnavailableError)
    assert isinstance(timed(tmp_path, "--runtime", "onnx", "--delegate", "cuda").exception, BackendUnavailableError)
    assert isinstance(timed(tmp_path, *mine, "--option", "mode=wrong").exception, WrongAnswerError)
    lost = timed(tmp_path, *mine, "--option", "mode=fail", "--option", "at=6").exception
    assert isinstance(lost, InferenceError)
    assert "failed while it was timed" in str(lost)


def test_one_variant_that_cannot_run_does_not_hide_the_others(tmp_path: Path) -> None:
    done = timed(tmp_path, "--delegate", "xnnpack")

    assert done.exit_code == 0
    assert "tiny.edge, float32 onnx: Execution provider 'XnnpackExecutionProvider'" in done.stderr
    assert [each["format"] for each in json.loads((tmp_path / "times.json").read_text())] == ["tflite"]


def test_a_runtime_that_is_not_installed_or_reads_none_of_the_variants_is_said(tmp_path: Path) -> None:
    scripted = tiny_bundle(tmp_path / "scripted.edge", answers=((0.2, 0.3, 0.5),))

    assert isinstance(timed(tmp_path, "--runtime", "tflite").exception, MissingExtraError)
    assert isinstance(CliRunner().invoke(bench, [str(scripted.path), "--runtime", "onnx"]).exception, BundleError)


@pytest.mark.parametrize("options", [["--option", "a=1"], ["--delegate", "gpu", "--option", "a"]])
def test_an_option_wants_a_delegate_and_a_value(tmp_path: Path, options: list[str]) -> None:
    assert timed(tmp_path, *options).exit_code == 2


def test_bench_shows_how_a_station_would_share_its_cores(tmp_path: Path) -> None:
    tiny_bundle(tmp_path / "tiny.edge")
    (tmp_path / "station.yaml").write_text(
        "{site: roof, station: one, state_directory: state, trust: {allow_unsigned: true}, "
        "sensors: {thing: {kind: simulated, options: {channels: 2}}}, "
        "streams: {level: {models: [{bundle: tiny.edge}]}}}"
    )

    answer = CliRunner().invoke(bench, ["--plan", str(tmp_path / "station.yaml"), "--json", "-"])

    assert answer.exit_code == 0, answer.output
    planned = json.loads(answer.stdout)
    assert planned["cores"] >= 1
    assert planned["streams"]["level"]["tiny"]["pooled"] is False
    assert planned["streams"]["level"]["tiny"]["threads"] == 1


def test_bench_wants_a_bundle_or_a_plan() -> None:
    assert "Give a BUNDLE" in CliRunner().invoke(bench, []).stderr
