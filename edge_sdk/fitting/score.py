"""Scores of fused answers against the truth, each with an interval. Plain numpy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_sdk.fitting.record import Record
from edge_sdk.fusion.base import Fused, Fuser

_FLOOR = 1e-4
_BINS = 15
_BLOCKS = 40
_RESAMPLES = 400
Sums = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Score:
    """How well one method does; what does not apply is None.

    Attributes:
        n: Moments.
        answered: Share of moments with an answer at all.
        accuracy: Share of right labels; no answer counts as wrong.
        macro_f1: Mean F1 over the classes that occur.
        log_loss: Mean -log p(truth), p floored at 1e-4.
        ece: Expected calibration error over 15 bins of confidence (Naeini et al. 2015).
        mae: Mean absolute error.
        r2: Share of variance explained.
        crps: Continuous ranked probability score of a Gaussian (Gneiting & Raftery 2007, eq. 21).
        coverage: Share of sets or intervals that hold the truth.
        width: Mean size of the sets, or width of the intervals.
        intervals: 95 % interval of each of them that applies, by name: a bootstrap over whole groups, or over some
            forty stretches of time where there are fewer groups than that, for neighbours err together.
    """

    n: int
    answered: float
    accuracy: float | None = None
    macro_f1: float | None = None
    log_loss: float | None = None
    ece: float | None = None
    mae: float | None = None
    r2: float | None = None
    crps: float | None = None
    coverage: float | None = None
    width: float | None = None
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def run(fuser: Fuser, record: Record) -> list[Fused | None]:
    """What a fuser answers at each moment, in order."""
    return [fuser.fuse(moment) for moment in record.moments()]


def score(answers: Sequence[Fused | None], record: Record) -> Score:
    """Compare answers with the truth of a record."""
    if record.task == "classification":
        each, measures = _classes(answers, record), _measures_of_classes(len(record.labels))
    else:
        each, measures = _estimates(answers, record), _measures_of_estimates
    blocks = _blocks(record)
    sums = np.zeros((blocks.max() + 1, each.shape[1]))
    np.add.at(sums, blocks, each)
    plain = {name: float(value[0]) for name, value in measures(sums.sum(axis=0, keepdims=True)).items()}
    known = {name: value for name, value in plain.items() if math.isfinite(value)}
    drawn = np.random.default_rng(0).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), _RESAMPLES)
    resampled = measures(np.asarray(drawn @ sums)) if len(sums) > 1 else {}
    intervals = {
        name: (float(low), float(high))
        for name, values in resampled.items()
        if name in known
        for low, high in [np.nanquantile(values, (0.025, 0.975))]
    }
    answered = known.pop("answered", 0.0)
    intervals.pop("answered", None)
    return Score(n=len(record), answered=answered, intervals=intervals, **known)


def macro_f1(truth: NDArray[np.int64], said: NDArray[np.int64]) -> float:
    """Mean F1 over the classes that occur in either; -1 is no answer."""
    n_classes = int(max(truth.max(), said.max())) + 1
    matrix = np.zeros((1, n_classes, n_classes + 1))
    np.add.at(matrix[0], (truth, np.where(said < 0, n_classes, said)), 1.0)
    return float(_f1(matrix)[0])


def _blocks(record: Record) -> NDArray[np.intp]:
    """Which block each moment belongs to: its group; where there are few, a stretch of it."""
    names, group = np.unique(record.groups, return_inverse=True)
    if len(names) >= _BLOCKS:
        return np.asarray(group, dtype=np.intp)
    stretch = max(1, len(record) // _BLOCKS)
    place = np.zeros(len(record), dtype=np.intp)
    for index in range(len(names)):
        rows = np.flatnonzero(group == index)
        place[rows] = np.arange(len(rows)) // stretch
    _, blocks = np.unique(group * (len(record) + 1) + place, return_inverse=True)
    return np.asarray(blocks, dtype=np.intp)


def _classes(answers: Sequence[Fused | None], record: Record) -> Sums:
    """What each moment adds: right, answered, loss, set, its size, whether it holds; bins; confusion matrix."""
    n, n_classes = len(record), len(record.labels)
    truth = np.asarray(record.truth, dtype=np.intp)
    said = np.full(n, n_classes, dtype=np.intp)
    probabilities = np.full((n, n_classes), 1.0 / n_classes)
    sets = np.zeros((n, 3))
    for index, fused in enumerate(answers):
        if fused is None or fused.probabilities is None:
            continue
        probabilities[index] = fused.probabilities
        said[index] = int(fused.probabilities.argmax())
        if fused.set:
            sets[index] = 1.0, len(fused.set), int(truth[index]) in fused.set
    right = (said == truth).astype(np.float64)
    loss = -np.log(np.maximum(probabilities[np.arange(n), truth], _FLOOR))
    confidence = probabilities.max(axis=1)
    bins = np.zeros((n, _BINS, 3))
    bins[np.arange(n), np.minimum((confidence * _BINS).astype(np.intp), _BINS - 1)] = np.stack(
        [np.ones(n), confidence, right], axis=1
    )
    matrix = np.zeros((n, n_classes, n_classes + 1))
    matrix[np.arange(n), truth, said] = 1.0
    plain = np.stack([np.ones(n), right, said < n_classes, loss], axis=1)
    return np.hstack([plain, sets, bins.reshape(n, -1), matrix.reshape(n, -1)])


def _measures_of_classes(n_classes: int) -> Callable[[Sums], dict[str, Sums]]:
    def measures(sums: Sums) -> dict[str, Sums]:
        n, right, answered, loss, sets, size, holds = sums[:, :7].T
        bins = sums[:, 7 : 7 + 3 * _BINS].reshape(len(sums), _BINS, 3)
        matrix = sums[:, 7 + 3 * _BINS :].reshape(len(sums), n_classes, n_classes + 1)
        return {
            "answered": answered / n,
            "accuracy": right / n,
            "macro_f1": _f1(matrix),
            "log_loss": loss / n,
            "ece": np.abs(bins[:, :, 1] - bins[:, :, 2]).sum(axis=1) / n,
            "coverage": _share(holds, sets),
            "width": _share(size, sets),
        }

    return measures


def _f1(matrix: Sums) -> Sums:
    """Macro-F1 of confusion matrices ``(…, truth, said)``; the last column is no answer."""
    square = matrix[:, :, :-1]
    hits = np.einsum("bii->bi", square)
    occurs = matrix.sum(axis=2) + square.sum(axis=1)
    each = np.where(occurs > 0, 2 * hits / np.maximum(occurs, 1e-12), np.nan)
    return np.asarray(np.nanmean(each, axis=1))


def _estimates(answers: Sequence[Fused | None], record: Record) -> Sums:
    """What each moment adds: error, its square, the truth's moments, CRPS, interval, its width, whether it holds."""
    truth = np.asarray(record.truth, dtype=np.float64).tolist()
    rows = np.zeros((len(record), 11))
    rows[:, 0] = 1.0
    for index, (fused, true) in enumerate(zip(answers, truth, strict=True)):
        if fused is None or fused.value is None:
            continue
        error = fused.value - true
        rows[index, 1:6] = 1.0, abs(error), error**2, true, true**2
        if fused.std is not None and fused.std > 0:
            rows[index, 6:8] = 1.0, _crps(error, fused.std)
        if fused.interval is not None:
            low, high = fused.interval
            rows[index, 8:11] = 1.0, high - low, low <= true <= high
    return rows


def _measures_of_estimates(sums: Sums) -> dict[str, Sums]:
    n, answered, absolute, square, total, total_square, stated, crps, intervals, width, holds = sums.T
    spread = total_square - total**2 / np.maximum(answered, 1.0)
    return {
        "answered": answered / n,
        "mae": _share(absolute, answered),
        "r2": 1.0 - _share(square, np.where(spread > 1e-9 * total_square, spread, 0.0)),
        "crps": np.where(stated == answered, _share(crps, stated), np.nan),
        "coverage": _share(holds, intervals),
        "width": _share(width, intervals),
    }


def _share(part: Sums, whole: Sums) -> Sums:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), np.nan)


def _crps(error: float, std: float) -> float:
    z = error / std
    density = math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    below = 0.5 * (1.0 + math.erf(z / math.sqrt(2)))
    return std * (z * (2 * below - 1) + 2 * density - 1 / math.sqrt(math.pi))
