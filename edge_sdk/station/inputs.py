"""Inputs in short: the newest window of each model as mean and spread of its channels."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from edge_sdk.base.clock import to_datetime
from edge_sdk.contract.events import InputSummary
from edge_sdk.contract.window import Window
from edge_sdk.runtime.scheduler import Scheduler

CHANNELS = 16
"""Of more channels, as of a picture or a spectrum, all are taken together."""


def summaries(streams: Iterable[Scheduler]) -> dict[str, InputSummary]:
    """The newest window of each model, by stream and model; one that holds no number is left out."""
    found = {
        f"{stream.pipeline.stream}.{model}": summary(window)
        for stream in streams
        for model, window in list(stream.last.items())  # the worker threads go on meanwhile
    }
    return {name: one for name, one in found.items() if one is not None}


def summary(window: Window) -> InputSummary | None:
    """Mean and standard deviation of each channel, to six digits; None = there are no samples, or not finite ones."""
    samples = window.samples if window.samples.shape[1] <= CHANNELS else window.samples.reshape(-1, 1)
    if not samples.size:
        return None
    mean, spread = samples.mean(axis=0, dtype=np.float64), samples.std(axis=0, dtype=np.float64)
    if not (np.isfinite(mean).all() and np.isfinite(spread).all()):
        return None
    return InputSummary(t=to_datetime(window.end_ns), mean=_rounded(mean), spread=_rounded(spread))


def _rounded(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values)
