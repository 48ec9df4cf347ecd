"""What the locks of `deploy` name can be installed on the boards that are promised: every wheel is there for them.

Nothing is downloaded and nothing installed; the package registry is asked for names alone.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import tomllib

DEPLOY = Path(__file__).parent.parent / "deploy"
UV = Path(sys.executable).with_name("uv")
# Who has that Python, and the version of the C library there.
BOARDS = {
    "3.10": ("JetPack 6", 35),
    "3.11": ("Raspberry Pi OS Bookworm", 36),
    "3.12": ("JetPack 7", 39),
    "3.13": ("Raspberry Pi OS Trixie", 40),  # has 41; 40 is the newest that uv knows by name
}
# For 32-bit Arm these are on no general registry; Raspberry Pi OS has pip ask piwheels.org for them.
FROM_PIWHEELS = {"cffi", "msgspec", "numpy", "pyyaml"}
_UNREACHABLE = re.compile(
    r"error sending request|dns error|failed to fetch|connection|timed out|network", re.IGNORECASE
)
_PIN = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>\S+?)(?: ; (?P<marker>.+?))? \\$", re.MULTILINE)


@pytest.mark.parametrize("extra", ["litert", "onnx"])
@pytest.mark.parametrize("python", BOARDS)
def test_every_locked_wheel_is_there_for_64_bit_arm(extra: str, python: str, tmp_path: Path) -> None:
    board, glibc = BOARDS[python]

    done = _ask_uv(DEPLOY / f"{extra}.lock", python, f"aarch64-manylinux_2_{glibc}", tmp_path)

    assert done.returncode == 0, f"{board}:\n{done.stderr}"
    assert "Would install" in done.stderr


def test_pip_takes_every_locked_version_on_every_python(tmp_path: Path) -> None:
    """Which uv does not say: it overlooks that a package may refuse newer Pythons."""
    from packaging.specifiers import SpecifierSet

    wanted: dict[str, str] = {}
    for python in BOARDS:
        pins = {f"{name}=={version}" for extra in ("litert", "onnx") for name, version in _pins(extra, python=python)}
        wanted |= _pythons_wanted(sorted(pins - wanted.keys()), python, tmp_path)

        refused = {pin: wanted[pin] for pin in pins if f"{python}.0" not in SpecifierSet(wanted[pin])}
        assert not refused, f"Python {python}"


def test_a_wheel_that_wants_a_newer_c_library_is_found_out(tmp_path: Path) -> None:
    done = _ask_uv(DEPLOY / "litert.lock", "3.11", "aarch64-manylinux_2_17", tmp_path)

    assert done.returncode != 0
    assert "wheel" in done.stderr


def test_every_locked_wheel_is_there_for_32_bit_arm_or_comes_from_piwheels(tmp_path: Path) -> None:
    pins = dict(_pins("tflite", python="3.11"))
    assert pins.keys() >= FROM_PIWHEELS

    wanted = [f"{name}=={version}" for name, version in pins.items() if name not in FROM_PIWHEELS]
    done = _ask_pip(wanted, "3.11", [f"manylinux_2_{minor}_armv7l" for minor in (36, 34, 31)], tmp_path)

    assert done.returncode == 0, done.stderr
    for name in ("tflite-runtime", "cryptography"):
        assert f"{name}-{pins[name]}" in done.stdout.replace("_", "-")


@pytest.mark.parametrize("extra", ["litert", "onnx", "tflite"])
def test_a_boards_lock_names_all_that_the_project_asks_for(extra: str) -> None:
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"][extra]]

    names = {_name(re.split(r"[<>=!~;\[ ]", line)[0]) for line in asked}

    assert names <= {name for name, _ in _pins(extra, python="3.11")}, "run `make lock`"


@pytest.mark.parametrize("extra", ["litert", "onnx"])
def test_a_board_gets_the_versions_that_the_tests_run_with(extra: str) -> None:
    tested = dict(_pins_of(DEPLOY.parent / "requirements.lock", python="3.11"))

    for name, version in _pins(extra, python="3.11"):
        assert tested.get(name, version) == version, f"{name}: run `make lock`"


def _ask_uv(lock: Path, python: str, platform: str, directory: Path) -> subprocess.CompletedProcess[str]:
    command = [str(UV), "pip", "install", "--dry-run", "--require-hashes", "--only-binary", ":all:", "--no-deps"]
    command += ["--python-platform", platform, "--python-version", python, "--target", str(directory / "never")]
    return _run([*command, "--requirement", str(lock)])


def _ask_pip(
    wanted: Sequence[str], python: str, platforms: Sequence[str], directory: Path, *more: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--only-binary=:all:", *more]
    command += [f"--platform={platform}" for platform in platforms]
    command += [f"--python-version={python}", "--implementation=cp", f"--abi=cp{python.replace('.', '')}"]
    command += ["--abi=abi3", "--abi=none", "--disable-pip-version-check", "--no-input"]
    return _run([*command, "--target", str(directory / "never"), *wanted])


def _pythons_wanted(pins: Sequence[str], python: str, directory: Path) -> dict[str, str]:
    """What each of them says of the Pythons that it is for."""
    if not pins:
        return {}
    report = directory / "report.json"
    platforms = [f"manylinux_2_{minor}_aarch64" for minor in range(BOARDS[python][1], 16, -1)]
    more = ("--ignore-requires-python", "--quiet", "--report", str(report))
    done = _ask_pip(pins, python, [*platforms, "manylinux2014_aarch64"], directory, *more)
    assert done.returncode == 0, done.stderr
    found = [item["metadata"] for item in json.loads(report.read_text(encoding="utf-8"))["install"]]
    return {f"{_name(one['name'])}=={one['version']}": one.get("requires_python", "") for one in found}


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_HTTP_TIMEOUT": "20",
        "PIP_DEFAULT_TIMEOUT": "20",
        "PIP_RETRIES": "2",
    }
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    if done.returncode and (unreachable := _UNREACHABLE.search(done.stderr)):
        pytest.skip(f"the package registry is out of reach: {unreachable[0]}")
    return done


def _pins(extra: str, *, python: str) -> Iterator[tuple[str, str]]:
    return _pins_of(DEPLOY / f"{extra}.lock", python=python)


def _pins_of(lock: Path, *, python: str) -> Iterator[tuple[str, str]]:
    """Name and version of each pin that counts on Linux with that Python."""
    from packaging.markers import Marker

    machine = {"python_full_version": f"{python}.0", "python_version": python, "sys_platform": "linux"}
    for found in _PIN.finditer(lock.read_text(encoding="utf-8")):
        if found["marker"] is None or Marker(found["marker"]).evaluate(machine):
            yield _name(found["name"]), found["version"]


def _name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
