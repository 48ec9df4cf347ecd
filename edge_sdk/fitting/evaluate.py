"""Evaluate: how well a fusion does whole and in trouble, beside each contributor alone and beside early fusion."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge_sdk.fitting.fit import cross_validated, fitted, methods_for
from edge_sdk.fitting.record import Opinion, Record
from edge_sdk.fitting.score import Score, run, score
from edge_sdk.fitting.table import Spoil
from edge_sdk.fusion.base import Fused
from edge_sdk.fusion.chain import Chain
from edge_sdk.fusion.file import FusionSpec

FUSED = "fused"
"""The fusion that is evaluated, among other methods."""
STRENGTHS = (0.5, 1.0, 2.0)
"""Noise that is tried, in standard deviations of the signal."""

Answers = tuple[Sequence[Fused | None], Record]
"""What was answered, and at which moments."""

Spoilt = Callable[[str, Spoil], Opinion]
"""What a contributor says when its samples are spoilt."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table.

    Attributes:
        method: ``fused`` for the fusion itself; another method, a contributor alone, or early fusion.
        trouble: ``absent``, ``stale``, ``noisy``, ``stuck``; empty = none.
        names: Whom it concerns.
        score: How well it does then.
        strength: Of noise, in standard deviations of the signal; 0 = it does not apply.
    """

    method: str
    trouble: str
    names: tuple[str, ...]
    score: Score
    strength: float = 0.0

    @property
    def title(self) -> str:
        """What a table calls it."""
        who = ", ".join(self.names)
        strong = f", {self.strength:g}-fold" if self.strength not in {0.0, 1.0} else ""
        return f"{self.method} {who} {self.trouble}{strong}" if self.trouble else self.method


def evaluate(
    spec: FusionSpec,
    record: Record,
    *,
    spoilt: Spoilt | None = None,
    beside: Mapping[str, Answers] | None = None,
    most: int = 2,
) -> list[Line]:
    """Score a fusion whole, and with one or two contributors in each trouble.

    Args:
        spec: The fusion; each scenario gets a new fuser.
        record: What the contributors say of test data.
        spoilt: What one says of spoilt samples; None = only absence and age are tried.
        beside: Answers to compare with, and their record, by title: early fusion, other methods.
        most: How many may be in trouble together.
    """
    lines = [
        Line(f"{name} alone", "", (), score(run(Chain("weighted_mean"), record.only(name)), record))
        for name in record.models
    ]
    lines += [Line(title, "", (), score(*pair)) for title, pair in (beside or {}).items()]
    lines.append(Line(FUSED, "", (), score(run(spec.open(), record), record)))

    def tried(trouble: str, names: tuple[str, ...], changed: Record, strength: float = 0.0) -> Line:
        return Line(FUSED, trouble, names, score(run(spec.open(), changed), changed), strength)

    groups = [
        names
        for count in range(1, min(most, len(record.models) - 1) + 1)
        for names in itertools.combinations(record.models, count)
    ]
    lines += [tried("absent", names, record.without(names)) for names in groups]
    lines += [tried("stale", names, record.aged(names)) for names in groups]
    if spoilt is None:
        return lines
    for strength in STRENGTHS:
        said = {name: spoilt(name, noisy(strength)) for name in record.models}
        wanted = groups if strength == 1.0 else [names for names in groups if len(names) == 1]
        lines += [tried("noisy", names, _changed(record, said, names), strength) for names in wanted]
    said = {name: spoilt(name, stuck) for name in record.models}
    lines += [tried("stuck", names, _changed(record, said, names)) for names in groups]
    return lines


def methods(record: Record, learned: Record | None) -> dict[str, Answers]:
    """What every method that `fit` tries answers, by title.

    Args:
        record: The test.
        learned: What the methods are fitted to; None = each of the test's groups is left out in turn.

    Raises:
        CalibrationError: Nothing to learn from is given, and the test is one group.
    """
    found: dict[str, Answers] = {}
    for method in methods_for(record):
        if learned is None:
            found[method.title] = cross_validated(method, record)
        else:
            found[method.title] = run(fitted(method, learned).open(), record), record
    return found


def short(lines: Sequence[Line]) -> list[tuple[str, Score]]:
    """What a person reads: each in trouble, and of two together the worst; titles and scores."""
    rows = [(line.title, line.score) for line in lines if len(line.names) < 2 and line.strength in {0.0, 1.0}]
    for trouble in ("absent", "stale", "noisy", "stuck"):
        pairs = [line for line in lines if line.trouble == trouble and len(line.names) > 1]
        if pairs:
            worst = min(pairs, key=lambda line: goodness(line.score))
            rows.append((f"{worst.title} (of two, the worst)", worst.score))
    return rows


def goodness(given: Score) -> float:
    """Accuracy, or the error turned round: higher is better."""
    if given.accuracy is not None:
        return given.accuracy
    return -np.inf if given.mae is None else -given.mae


def noisy(strength: float, seed: int = 1) -> Spoil:
    """White noise, so many times as strong as the signal itself."""

    def spoil(samples: NDArray[np.float32]) -> NDArray[np.float32]:
        noise = np.random.default_rng(seed).standard_normal(samples.shape).astype(np.float32)
        changed: NDArray[np.float32] = samples + np.float32(strength) * noise * np.nanstd(samples, axis=0)
        return changed

    return spoil


def stuck(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """A sensor that says for ever what it said half-way."""
    known = np.flatnonzero(np.isfinite(samples).all(axis=1))
    at = known[len(known) // 2] if len(known) else 0
    return np.repeat(samples[at : at + 1], len(samples), axis=0)


def columns(task: str) -> Sequence[tuple[str, str]]:
    """What a table shows: attribute of `Score`, and its heading."""
    if task == "classification":
        return (
            ("accuracy", "accuracy"),
            ("macro_f1", "macro-F1"),
            ("log_loss", "log-loss"),
            ("ece", "ECE"),
            ("coverage", "coverage"),
            ("width", "set size"),
        )
    return (("mae", "MAE"), ("r2", "R²"), ("crps", "CRPS"), ("coverage", "coverage"), ("width", "width"))


def cell(given: Score, attribute: str) -> str:
    """A figure with its 95 % interval, as tables show it."""
    value = getattr(given, attribute)
    if value is None:
        return "-"
    digits = 3 if abs(value) < 10 else 1
    if attribute not in given.intervals:
        return f"{value:.{digits}f}"
    low, high = given.intervals[attribute]
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _changed(record: Record, said: Mapping[str, Opinion], names: Sequence[str]) -> Record:
    return replace(record, opinions={**record.opinions, **{name: said[name] for name in names}})
