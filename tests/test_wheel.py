"""The wheel: built, installed into an empty environment with what a board's lock names, and put to work there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edge_sdk.contract.trust import SigningKey
from tests.brokers import mosquitto
from tests.models import tiny_bundle

ROOT = Path(__file__).parent.parent
UV = Path(sys.executable).with_name("uv")
OTHER_PYTHONS = ("3.10", "3.12", "3.13")
RUNS_ON = {"litert": "float32.tflite on litert", "onnx": "float32.onnx on onnxruntime"}
NOT_ON_A_DEVICE = {"tensorflow", "onnx", "keras", "fastapi", "pydantic", "scikit-learn", "iotcore"}

STATION = """\
site: roof
station: alone
state_directory: state
broker: {{url: "{broker}", delivery: broker}}
trust: {{keys: [key.pub]}}
sensors:
  thing: {{kind: replay, options: {{file: thing.npz, rate_hz: 2, speed: 50, start: 1700000000000000000}}}}
streams:
  level:
    models: [{{bundle: tiny.edge}}]
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)],
        check=True,
        capture_output=True,
    )
    [path] = out.glob("*.whl")
    return path


def test_the_wheel_carries_the_code_and_the_boards_and_no_tests(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())

    assert {"edge_sdk/cli.py", "edge_sdk/py.typed", "converters/cli.py"} <= names
    assert any(name.startswith("edge_sdk/boards/device_configs/") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "examples/"))]
    assert sum(info.file_size for info in zipfile.ZipFile(wheel).infolist()) < 3_000_000


def test_a_station_runs_from_the_wheel_with_litert_alone(wheel: Path, tmp_path: Path) -> None:
    _works_alone(wheel, tmp_path, python=sys.executable, extra="litert")


@pytest.mark.parametrize(
    ("version", "extra"),
    [
        ("3.10", "litert"),  # the oldest: what is too new for it is found by every `make test`
        *(
            pytest.param(version, extra, marks=pytest.mark.slow)
            for version in OTHER_PYTHONS
            for extra in RUNS_ON
            if (version, extra) != ("3.10", "litert")
        ),
    ],
)
def test_a_station_runs_from_the_wheel_on_every_python_found_here(
    wheel: Path, tmp_path: Path, version: str, extra: str
) -> None:
    places = os.pathsep.join(map(str, (Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin")))
    found = shutil.which(f"python{version}", path=places) or shutil.which(f"python{version}")
    if found is None or subprocess.run([found, "--version"], capture_output=True).returncode:
        pytest.skip(f"Python {version} is not on this machine")
    _works_alone(wheel, tmp_path, python=found, extra=extra)


def _works_alone(wheel: Path, directory: Path, *, python: str, extra: str) -> None:
    venv = directory / "venv"
    subprocess.run([UV, "venv", "--quiet", "--python", python, str(venv)], check=True)
    _install(venv, wheel, extra)
    listed = subprocess.run([UV, "pip", "list", "--python", str(venv)], capture_output=True, text=True, check=True)
    installed = {line.split()[0] for line in listed.stdout.splitlines()[2:]}
    assert not installed & NOT_ON_A_DEVICE

    SigningKey.new().write(directory / "key")
    tiny_bundle(directory / "tiny.edge", key=SigningKey.read(directory / "key"))
    times = np.arange(40) / 2.0
    np.savez(directory / "thing.npz", times_s=times, samples=np.sin(times[:, None] + [0.0, 1.0]))
    with mosquitto(directory) as broker:
        (directory / "station.yaml").write_text(STATION.format(broker=broker.url))
        run = subprocess.run(
            [venv / "bin" / "edge-sdk", "station", "run", "station.yaml", "--json", "counters.json"],
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=60,
        )
        seen = subprocess.run(
            [venv / "bin" / "edge-sdk", "station", "check", "station.yaml"],
            cwd=directory,
            capture_output=True,
            text=True,
        )

    assert run.returncode == 0, run.stderr
    counters = (directory / "counters.json").read_text()
    assert '"results.accepted": 19' in counters, counters
    assert RUNS_ON[extra] in seen.stdout, seen.stdout + seen.stderr
    shutil.rmtree(venv)


def _install(venv: Path, wheel: Path, extra: str) -> None:
    """Install what the board's lock names, then the wheel; from the cache that `make setup` filled if it can."""
    command = [str(UV), "pip", "install", "--quiet", "--python", str(venv)]
    locked = [
        *command,
        "--require-hashes",
        "--only-binary",
        ":all:",
        "--requirement",
        str(ROOT / f"deploy/{extra}.lock"),
    ]
    if subprocess.run([*locked, "--offline"], capture_output=True).returncode:
        done = subprocess.run(locked, capture_output=True, text=True)
        if unreachable := re.search("error sending request|dns error", done.stderr):
            pytest.skip(f"the package registry is out of reach: {unreachable[0]}")
        assert done.returncode == 0, done.stderr
    subprocess.run([*command, "--no-deps", str(wheel)], check=True)
