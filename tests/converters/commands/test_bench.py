from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from converters.commands.bench import bench
from tests.models import tiny_bundle


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
