"""Parity: the merged model beside its members and the fusion done one after the other; answers and times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from converters.evaluate.latency import median_ms, side_by_side
from converters.merge.plan import Member, Plan
from edge_sdk.base import plugins
from edge_sdk.contract.manifest import Variant
from edge_sdk.inference.base import Backend, BackendRequest
from edge_sdk.inference.preprocess import Preprocess

RUNTIME = {"tflite": "litert", "onnx": "onnxruntime"}
N_RECORDED = 8
_N_NOISE = 56


class Parity(NamedTuple):
    """What was seen.

    Attributes:
        answers: Of the merged model to the recorded windows, ``(n, width)``.
        worst: Largest difference from the separate run, over all windows.
        agreement: Share of windows in which both name the same label (1 for estimates).
        merged_ms: Median of preprocessing, model and fusion in one.
        separate_ms: Median of the same one after the other.
    """

    answers: NDArray[np.float32]
    worst: float
    agreement: float
    merged_ms: float
    separate_ms: float


def windows_for(plan: Plan) -> NDArray[np.float32]:
    """Windows in physical units ``(n, length, n_channels)``: what the members recorded, then noise like it.

    The first `N_RECORDED` are those that the merged bundle records.
    """
    length, n_channels = plan.windowing.length, len(plan.channels)
    made = np.zeros((N_RECORDED, length, n_channels), np.float32)
    filled: set[int] = set()
    for member in plan.members:
        own = _recorded(member, length)
        for place, column in enumerate(member.columns):
            if column not in filled:
                made[:, :, column] = own[:, :, place]
                filled.add(column)
    rng = np.random.default_rng(0)
    centre, spread = made.mean(axis=(0, 1)), made.std(axis=(0, 1)) + 1e-6
    noise = rng.normal(centre, spread, (_N_NOISE, length, n_channels)).astype(np.float32)
    return np.concatenate([made, noise])


def compare(
    plan: Plan, variants: Sequence[Variant], model: bytes, merged: Variant, windows: NDArray[np.float32]
) -> Parity:
    """Run both over `windows`, and time them in turn.

    Raises:
        BackendError: One of them does not run.
    """
    runtime = RUNTIME[merged.format]
    one = _open(runtime, model, merged)
    several = [
        _open(runtime, member.bundle.files[variant.file], variant)
        for member, variant in zip(plan.members, variants, strict=True)
    ]
    steps = [Preprocess.of(member.manifest.preprocess) for member in plan.members]
    shape = merged.inputs[0].shape

    def separately(window: NDArray[np.float32]) -> NDArray[np.float64]:
        rows = []
        for member, backend, step in zip(plan.members, several, steps, strict=True):
            inputs = step.apply(window[:, member.columns]).reshape(backend.variant.inputs[0].shape)
            rows.append(member.calibrated(backend.run([inputs])[0]))
        return plan.fuse(np.stack(rows))

    def together(window: NDArray[np.float32]) -> NDArray[np.float32]:
        return one.run([window.reshape(shape)])[0].ravel()

    answers = np.stack([together(window) for window in windows])
    wanted = np.stack([separately(window) for window in windows])
    times = side_by_side([lambda: together(windows[0]), lambda: separately(windows[0])])
    for backend in (one, *several):
        backend.close()
    return Parity(
        answers=answers[:N_RECORDED],
        worst=float(np.abs(answers - wanted).max()),
        agreement=float((answers.argmax(axis=1) == wanted.argmax(axis=1)).mean()),
        merged_ms=median_ms(times[0]),
        separate_ms=median_ms(times[1]),
    )


def _recorded(member: Member, length: int) -> NDArray[np.float32]:
    """A member's recorded inputs as windows, `N_RECORDED` of them."""
    manifest = member.manifest
    shape = (-1, length, len(manifest.channels))
    if not manifest.check_input:
        return np.random.default_rng(1).normal(size=(N_RECORDED, *shape[1:])).astype(np.float32)
    own = member.physical(member.bundle.array(manifest.check_input).reshape(shape))
    return own[np.arange(N_RECORDED) % len(own)]


def _open(runtime: str, model: bytes, variant: Variant) -> Backend:
    opener: Any = plugins.load("edge_sdk.backends", runtime)
    backend: Backend = opener(model, variant, BackendRequest())
    return backend
