"""Probe: every runtime, delegate and provider that we know, tried here with a tiny model; for each absent one why."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import msgspec

from edge_sdk.base import plugins
from edge_sdk.base.errors import (
    BackendError,
    BackendUnavailableError,
    BundleError,
    MissingExtraError,
    UnavailableReason,
    WrongAnswerError,
)
from edge_sdk.contract.bundle import Bundle, read_bundle
from edge_sdk.contract.trust import Trust
from edge_sdk.inference.base import BackendRequest
from edge_sdk.inference.delegates import Delegate, Kind, known
from edge_sdk.inference.opening import GROUP, open_variant

RUNTIMES = {"litert": "tflite", "tflite": "tflite", "onnxruntime": "onnx"}
_BUNDLE = Path(__file__).with_name("probe.edge")
_OPEN_TIMEOUT_S = 30.0
_LOAD_TIMEOUT_S = 20.0
_LOADER = """
import ctypes, json, sys
for name in sys.argv[1:]:
    try:
        ctypes.CDLL(name)
        print(json.dumps([name, ""]), flush=True)
    except OSError as error:
        print(json.dumps([name, str(error)]), flush=True)
"""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One runtime, or one delegate or provider on a runtime.

    Attributes:
        runtime: ``litert``, ``tflite``, ``onnxruntime``.
        name: The delegate; empty = the runtime itself.
        here: Whether it ran the tiny model and answered right.
        reason: Why not, as an `UnavailableReason`, or ``wrong_answer``; empty when it did.
        detail: Its version and share; or what is missing and the cure.
    """

    runtime: str
    name: str
    here: bool
    reason: str
    detail: str


def probe() -> Iterator[Found]:
    """Try everything; runtimes first, each followed by its delegates."""
    for runtime in RUNTIMES:
        found = _try(runtime, "", Delegate(name="none"))
        yield found
        if found.reason != UnavailableReason.NOT_INSTALLED.value:
            yield from _delegates(runtime, runs=found.here)


def _delegates(runtime: str, *, runs: bool) -> Iterator[Found]:
    table = {name: kind for name, kind in known(runtime).items() if name not in {"none", "cpu"}}
    missing = _cannot_load(tuple(kind.target for kind in table.values() if kind.how == "external"))
    for name, kind in table.items():
        if not runs:
            yield _absent(runtime, name, UnavailableReason.NOT_INSTALLED.value, "its runtime does not work here")
        elif why := missing.get(kind.target, ""):
            yield _absent(runtime, name, UnavailableReason.LIBRARY_NOT_FOUND.value, f"{why}. {kind.cure}")
        else:
            yield _try(runtime, name, Delegate(name=name, open_timeout_s=_OPEN_TIMEOUT_S), kind)


def _try(runtime: str, name: str, delegate: Delegate, kind: Kind | None = None) -> Found:
    bundle = _bundle()
    variant = bundle.variant(format=RUNTIMES[runtime])
    try:
        plugins.load(GROUP, runtime)
        if runtime == "onnxruntime":
            from edge_sdk.inference.onnxruntime import check_compiled_in

            check_compiled_in(delegate)
        backend = open_variant(bundle, runtime, variant, BackendRequest(delegates=(delegate,)))
    except MissingExtraError as error:
        return _absent(runtime, name, UnavailableReason.NOT_INSTALLED.value, str(error))
    except BackendUnavailableError as error:
        is_there = error.reason is UnavailableReason.REFUSED_MODEL and kind is not None and kind.how == "external"
        says = f"loads, and does not take the tiny model: {error.cure}" if is_there else error.cure
        return Found(runtime=runtime, name=name, here=is_there, reason=error.reason.value, detail=says)
    except WrongAnswerError as error:
        return _absent(runtime, name, "wrong_answer", str(error))
    except (BackendError, BundleError) as error:
        return _absent(runtime, name, UnavailableReason.REFUSED_MODEL.value, str(error))
    share = next((part.share_of_operations for part in backend.coverage), None)
    took = "" if share is None or not name else f", took {share:.0%} of the tiny model"
    backend.close()
    return Found(runtime=runtime, name=name, here=True, reason="", detail=f"{runtime} {backend.version}{took}")


def _absent(runtime: str, name: str, reason: str, detail: str) -> Found:
    return Found(runtime=runtime, name=name, here=False, reason=reason, detail=detail)


def _cannot_load(libraries: tuple[str, ...]) -> dict[str, str]:
    """Why libraries cannot be loaded, by name; tried in another process, which a bad one may take along."""
    if not libraries:
        return {}
    why = dict.fromkeys(libraries, "loading it ended the process that tried")
    command = [sys.executable, "-c", _LOADER, *libraries]
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=_LOAD_TIMEOUT_S, check=False).stdout
    except subprocess.TimeoutExpired as error:
        why = dict.fromkeys(libraries, f"loading it took more than {_LOAD_TIMEOUT_S:g} s")
        output = (error.stdout or b"").decode() if isinstance(error.stdout, bytes) else error.stdout or ""
    for line in output.splitlines():
        name, said = json.loads(line)
        why[name] = said
    return why


@lru_cache(maxsize=1)
def _bundle() -> Bundle:
    return read_bundle(_BUNDLE, Trust(allow_unsigned=True))
