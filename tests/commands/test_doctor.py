from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edge_sdk.cli import commands
from edge_sdk.inference.delegates import known

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def findings() -> list[dict[str, Any]]:
    answer = CliRunner().invoke(commands, ["doctor", "--json", "-"])
    assert answer.exit_code == 0, answer.output
    found: list[dict[str, Any]] = json.loads(answer.stdout)
    return found


def test_every_runtime_delegate_and_provider_is_listed(findings: list[dict[str, Any]]) -> None:
    names = {kind: {one["name"] for one in findings if one["kind"] == kind} for kind in ("runtime", "provider")}

    assert names["runtime"] == {"litert", "tflite", "onnxruntime"}
    wanted = {kind.target for name, kind in known("onnxruntime").items() if name not in {"none", "cpu"}}
    assert names["provider"] == wanted
    delegates = {one["name"] for one in findings if one["kind"] == "delegate"}
    assert delegates == known("litert").keys() - {"none"}


def test_what_is_here_has_run_and_what_is_not_says_why(findings: list[dict[str, Any]]) -> None:
    by_name = {one["name"]: one for one in findings}

    assert by_name["litert"]["here"]
    assert by_name["xnnpack"]["here"]
    assert "took 100%" in by_name["xnnpack"]["detail"]
    for one in findings:
        if not one["here"] and one["kind"] in {"runtime", "delegate", "provider", "library", "program"}:
            assert one["reason"], one
            assert one["detail"], one
    assert not [one for one in findings if one["name"] == "nicegui"]
    assert {"fastapi", "uvicorn"} <= set(by_name)


def test_people_get_a_table() -> None:
    answer = CliRunner().invoke(commands, ["doctor"])

    assert answer.exit_code == 0
    assert "libedgetpu.so.1" in answer.stdout
    assert "library_not_found" in answer.stdout


def test_drivers_do_not_talk_between(capfd: pytest.CaptureFixture[str]) -> None:
    CliRunner().invoke(commands, ["doctor", "--json", "-"])
    os.write(2, b"heard again")

    assert capfd.readouterr().err == "heard again"


def test_two_builds_of_one_runtime_that_overwrote_each_other_are_found(tmp_path: Path) -> None:
    about = tmp_path / "onnxruntime_gpu-1.23.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime-gpu\nVersion: 1.23.0\n")

    command = [sys.executable, "-m", "edge_sdk.cli", "doctor", "--json", "-"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

    [library] = [one for one in json.loads(done.stdout) if (one["kind"], one["name"]) == ("library", "onnxruntime")]
    assert not library["here"]
    assert "onnxruntime-gpu 1.23.0: one has overwritten the other" in library["detail"]
