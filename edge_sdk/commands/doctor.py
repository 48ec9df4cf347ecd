"""``edge-sdk doctor``: what this machine has, and for what it has not, why."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version

import click
import msgspec

from edge_sdk.base import terminal

_LIBRARIES = {
    "ai-edge-litert": "litert",
    "tflite-runtime": "tflite",
    "onnxruntime": "onnx",
    "tensorflow": "convert",
    "fastapi": "monitor",
    "uvicorn": "monitor",
    "iotcore": "demo",
    "seglearn": "demo",
}
# Distributions that are one package to Python: whichever is installed last overwrites the others.
_BUILDS = {
    "onnxruntime": ("onnxruntime", *(f"onnxruntime-{kind}" for kind in ("gpu", "openvino", "qnn", "webgpu"))),
}
_PROGRAMS = {
    "mosquitto": "a broker of your own: sudo apt-get install mosquitto",
    "chromium": "only to test the web page: sudo apt-get install chromium",
    "gcc": "only to test delegates: sudo apt-get install gcc libc6-dev",
    "edgetpu_compiler": "only to compile for the Coral Edge TPU, on x86-64",
}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked for.

    Attributes:
        kind: ``machine``, ``board``, ``python``, ``clock``, ``device``, ``library``, ``runtime``, ``delegate``,
            ``provider``, ``program``.
        name: What.
        here: Whether it is here and works.
        reason: Why not, in one word; empty when it is here, or needs no reason.
        detail: What was found; when it is not here, what to do.
    """

    kind: str
    name: str
    here: bool
    reason: str = ""
    detail: str


@click.command()
@terminal.json_option
def doctor(json_file: str | None) -> None:
    """Say which runtimes, delegates, providers, programs and libraries are here, and why the others are not.

    Runtimes, delegates and providers are not only looked for: each runs a tiny model, in a process of its own where a
    driver is involved, and its answer is compared. It takes some seconds. What drivers print meanwhile is left out: to
    read it, try one with `edge-sdk bench BUNDLE --delegate NAME`.

    \b
    Examples:
      edge-sdk doctor
      edge-sdk doctor --json -
    """
    findings = [*_machine(), *_devices(), *_libraries(), *_runtimes(), *_programs()]
    terminal.write_json(json_file, findings)
    if json_file != "-":
        rows = [[one.kind, one.name, "yes" if one.here else "no", one.reason, one.detail] for one in findings]
        terminal.table("This machine", ["kind", "name", "here", "why not", "detail"], rows)


def _machine() -> Iterator[Finding]:
    from edge_sdk.base.clock import ClockState, SystemClock
    from edge_sdk.boards.probe import this_board

    clock = SystemClock().state()
    said = "set by a time source" if clock is ClockState.SYNCED else "not set by a time source: install chrony"
    system = f"{platform.system()} {platform.release()}"
    yield Finding(kind="machine", name=platform.machine(), here=True, detail=system)
    board = this_board()
    profile = f"{board.title}: `edge-sdk boards show {board.name}`" if board else "no profile describes it"
    yield Finding(kind="board", name=board.name if board else "unknown", here=board is not None, detail=profile)
    yield Finding(kind="python", name=sys.version.split()[0], here=True, detail=sys.executable)
    yield Finding(kind="clock", name=clock.value, here=clock is ClockState.SYNCED, detail=said)


def _devices() -> Iterator[Finding]:
    from edge_sdk.boards.devices import devices

    for device in devices():
        reason = "" if device.is_usable else "no_permission"
        yield Finding(kind="device", name=device.name, here=device.is_usable, reason=reason, detail=device.detail)


def _libraries() -> Iterator[Finding]:
    for name, extra in _LIBRARIES.items():
        builds = {build: _version(build) for build in _BUILDS.get(name, (name,))}
        here = [f"{build} {number}" if len(builds) > 1 else number for build, number in builds.items() if number]
        said = ", ".join(here) or f"not installed: pip install 'edge-sdk[{extra}]'"
        if len(here) > 1:
            said += ": one has overwritten the other; uninstall both, then install the one that you want"
        reason = "" if len(here) == 1 else "overwritten" if here else "not_installed"
        yield Finding(kind="library", name=name, here=len(here) == 1, reason=reason, detail=said)


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def _runtimes() -> Iterator[Finding]:
    from edge_sdk.inference.delegates import known
    from edge_sdk.inference.probe import probe

    with _drivers_muted():
        found = list(probe())
    for one in found:
        if not one.name:
            kind, name = "runtime", one.runtime
        elif one.runtime == "onnxruntime":
            kind, name = "provider", known(one.runtime)[one.name].target
        else:
            kind, name = "delegate", one.name
        detail = one.detail if kind == "runtime" or one.here else f"{one.runtime}: {one.detail}"
        yield Finding(kind=kind, name=name, here=one.here, reason=one.reason, detail=detail)


@contextmanager
def _drivers_muted() -> Iterator[None]:
    """Let what native libraries print, here and in processes begun meanwhile, go nowhere: dozens of lines each."""
    sys.stderr.flush()
    before, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)


def _programs() -> Iterator[Finding]:
    for name, use in _PROGRAMS.items():
        path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
        reason = "" if path else "not_installed"
        yield Finding(kind="program", name=name, here=path is not None, reason=reason, detail=path or use)
