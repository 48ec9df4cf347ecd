"""``edge-sdk doctor``: what this machine has, and for what it has not, why."""

from __future__ import annotations

import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

from edge_sdk.base import terminal

_LIBRARIES = {
    "ai-edge-litert": "litert",
    "tflite-runtime": "tflite",
    "onnxruntime": "onnx",
    "tensorflow": "convert",
    "fastapi": "monitor",
    "iotcore": "demo",
    "seglearn": "demo",
}
# Distributions that are one package to Python: whichever is installed last overwrites the others.
_BUILDS = {"onnxruntime": ("onnxruntime", "onnxruntime-gpu")}
_PROGRAMS = {
    "mosquitto": "a broker of your own: sudo apt-get install mosquitto",
    "chromium": "only to test the web page: sudo apt-get install chromium",
    "edgetpu_compiler": "only to compile for the Coral Edge TPU, on x86-64",
}


@click.command()
@terminal.json_option
def doctor(json_file: str | None) -> None:
    """Say which runtimes, providers, programs and plug-ins are here.

    \b
    Examples:
      edge-sdk doctor
      edge-sdk doctor --json -
    """
    findings = _machine() + _libraries() + _providers() + _delegates() + _programs()
    terminal.write_json(json_file, findings)
    if json_file != "-":
        rows = [[f["kind"], f["name"], "yes" if f["here"] else "no", f["detail"]] for f in findings]
        terminal.table("This machine", ["kind", "name", "here", "detail"], rows)


def _finding(kind: str, name: str, here: bool, detail: str) -> dict[str, Any]:
    return {"kind": kind, "name": name, "here": here, "detail": detail}


def _machine() -> list[dict[str, Any]]:
    from edge_sdk.base.clock import ClockState, SystemClock

    clock = SystemClock().state()
    said = "set by a time source" if clock is ClockState.SYNCED else "not set by a time source: install chrony"
    return [
        _finding("machine", platform.machine(), True, f"{platform.system()} {platform.release()}"),
        _finding("python", sys.version.split()[0], True, sys.executable),
        _finding("clock", clock.value, clock is ClockState.SYNCED, said),
    ]


def _libraries() -> list[dict[str, Any]]:
    found = []
    for name, extra in _LIBRARIES.items():
        builds = {build: _version(build) for build in _BUILDS.get(name, (name,))}
        here = [f"{build} {number}" if len(builds) > 1 else number for build, number in builds.items() if number]
        said = ", ".join(here) or f"not installed: pip install 'edge-sdk[{extra}]'"
        if len(here) > 1:
            said += ": one has overwritten the other; uninstall both, then install the one that you want"
        found.append(_finding("library", name, len(here) == 1, said))
    return found


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def _providers() -> list[dict[str, Any]]:
    try:
        import edge_sdk.inference.onnxruntime as backend
    except ModuleNotFoundError:
        return []
    wanted = ["CPUExecutionProvider", "XnnpackExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"]
    here = backend.available_providers()
    return [
        _finding("provider", name, name in here, "ready" if name in here else "not in this build of onnxruntime")
        for name in [*wanted, *(name for name in here if name not in wanted)]
    ]


def _delegates() -> list[dict[str, Any]]:
    import ctypes

    found = []
    for name, library in {"edgetpu": "libedgetpu.so.1", "armnn": "libarmnnDelegate.so"}.items():
        try:
            ctypes.CDLL(library)
            found.append(_finding("delegate", name, True, library))
        except OSError as error:
            found.append(_finding("delegate", name, False, str(error)))
    return found


def _programs() -> list[dict[str, Any]]:
    found = []
    for name, use in _PROGRAMS.items():
        path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
        found.append(_finding("program", name, path is not None, path or f"not found; {use}"))
    return found
