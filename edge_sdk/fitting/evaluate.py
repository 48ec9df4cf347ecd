"""Evaluate: how well a fusion does, whole and with contributors absent, noisy or stuck, beside each one alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_sdk.fitting.record import Record
from edge_sdk.fitting.score import Score, run, score
from edge_sdk.fitting.table import Spoil
from edge_sdk.fusion.chain import Chain
from edge_sdk.fusion.file import FusionSpec


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table.

    Attributes:
        method: The fusion's method, or a contributor alone.
        trouble: ``absent``, ``noisy``, ``stuck``; empty = none.
        names: Whom it concerns.
        score: How well it does then.
    """

    method: str
    trouble: str
    names: tuple[str, ...]
    score: Score


def evaluate(
    spec: FusionSpec, record: Record, *, spoilt: Callable[[Spoil], Record] | None = None, most_absent: int = 2
) -> list[Line]:
    """Score a fusion under trouble.

    Args:
        spec: The fusion; each scenario gets a new fuser.
        record: What the contributors say of test data.
        spoilt: Makes the record again from spoilt samples; None = absence alone is tried.
        most_absent: How many may be absent together.
    """
    lines = [
        Line(f"{name} alone", "", (), score(run(Chain("weighted_mean"), record.only(name)), record))
        for name in record.models
    ]
    lines.append(Line(spec.method, "", (), score(run(spec.open(), record), record)))
    for count in range(1, min(most_absent, len(record.models) - 1) + 1):
        for names in itertools.combinations(record.models, count):
            answers = run(spec.open(), record.without(names))
            lines.append(Line(spec.method, "absent", names, score(answers, record)))
    if spoilt is not None:
        for trouble, make in (("noisy", noisy), ("stuck", stuck)):
            for name in record.models:
                changed = spoilt(make(name))
                lines.append(Line(spec.method, trouble, (name,), score(run(spec.open(), changed), changed)))
    return lines


def noisy(name: str, seed: int = 1) -> Spoil:
    """White noise as strong as the signal itself, on one sensor."""

    def spoil(model: str, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        if model != name:
            return samples
        noise = np.random.default_rng(seed).standard_normal(samples.shape).astype(np.float32)
        changed: NDArray[np.float32] = samples + noise * np.nanstd(samples, axis=0)
        return changed

    return spoil


def stuck(name: str) -> Spoil:
    """One sensor says for ever what it said first."""

    def spoil(model: str, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.repeat(samples[:1], len(samples), axis=0) if model == name else samples

    return spoil


def columns(task: str) -> Sequence[tuple[str, str]]:
    """What a table shows: attribute of `Score`, and its heading."""
    if task == "classification":
        return (
            ("accuracy", "accuracy"),
            ("accuracy_low", "from"),
            ("accuracy_high", "to"),
            ("macro_f1", "macro-F1"),
            ("log_loss", "log-loss"),
            ("ece", "ECE"),
            ("coverage", "coverage"),
            ("width", "set size"),
        )
    return (("mae", "MAE"), ("r2", "R²"), ("crps", "CRPS"), ("coverage", "coverage"), ("width", "width"))
