"""Scores of fused answers against the truth. Plain numpy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_sdk.fitting.record import Record
from edge_sdk.fusion.base import Fused, Fuser

_FLOOR = 1e-4


@dataclass(frozen=True, slots=True)
class Score:
    """How well one method does; what does not apply is None.

    Attributes:
        n: Moments.
        answered: Share of moments with an answer at all.
        accuracy: Share of right labels; no answer counts as wrong.
        accuracy_low: Lower end of its 95 % interval (Wilson 1927), with moments taken as independent.
        accuracy_high: Upper end.
        macro_f1: Mean F1 over the classes that occur.
        log_loss: Mean -log p(truth), p floored at 1e-4.
        ece: Expected calibration error over 15 bins of confidence.
        mae: Mean absolute error.
        r2: Share of variance explained.
        crps: Continuous ranked probability score of a Gaussian.
        coverage: Share of sets or intervals that hold the truth.
        width: Mean size of the sets, or width of the intervals.
    """

    n: int
    answered: float
    accuracy: float | None = None
    accuracy_low: float | None = None
    accuracy_high: float | None = None
    macro_f1: float | None = None
    log_loss: float | None = None
    ece: float | None = None
    mae: float | None = None
    r2: float | None = None
    crps: float | None = None
    coverage: float | None = None
    width: float | None = None


def run(fuser: Fuser, record: Record) -> list[Fused | None]:
    """What a fuser answers at each moment, in order."""
    return [fuser.fuse(moment) for moment in record.moments()]


def score(answers: Sequence[Fused | None], record: Record) -> Score:
    """Compare answers with the truth of a record."""
    return _classes(answers, record) if record.task == "classification" else _estimates(answers, record)


def macro_f1(truth: NDArray[np.int64], said: NDArray[np.int64]) -> float:
    """Mean F1 over the classes that occur in either; -1 is no answer."""
    labels = np.union1d(truth, said[said >= 0])
    each = []
    for label in labels:
        right = int(np.count_nonzero((truth == label) & (said == label)))
        all_of = int(np.count_nonzero(truth == label)) + int(np.count_nonzero(said == label))
        each.append(2 * right / all_of)
    return float(np.mean(each))


def wilson(share: float, n: int) -> tuple[float, float]:
    """95 % interval of a share."""
    z2 = 1.96**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = 1.96 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return middle - half, middle + half


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 15) -> float:
    """Mean gap between confidence and accuracy, over bins of equal width (Naeini et al. 2015)."""
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gap = 0.0
    for index in np.unique(place):
        rows = place == index
        gap += np.count_nonzero(rows) * abs(float(confidence[rows].mean()) - float(right[rows].mean()))
    return float(gap / len(confidence))


def _classes(answers: Sequence[Fused | None], record: Record) -> Score:
    n, n_classes = len(record), len(record.labels)
    truth = np.asarray(record.truth, dtype=np.int64)
    said = np.full(n, -1, dtype=np.int64)
    probabilities = np.full((n, n_classes), 1.0 / n_classes)
    holds: list[bool] = []
    sizes: list[int] = []
    for index, fused in enumerate(answers):
        if fused is None or fused.probabilities is None:
            continue
        probabilities[index] = fused.probabilities
        said[index] = int(fused.probabilities.argmax())
        if fused.set:
            holds.append(int(truth[index]) in fused.set)
            sizes.append(len(fused.set))
    right = said == truth
    accuracy = float(right.mean())
    low, high = wilson(accuracy, n)
    given = np.maximum(probabilities[np.arange(n), truth], _FLOOR)
    return Score(
        n=n,
        answered=float((said >= 0).mean()),
        accuracy=accuracy,
        accuracy_low=low,
        accuracy_high=high,
        macro_f1=macro_f1(truth, said),
        log_loss=float(-np.log(given).mean()),
        ece=calibration_error(probabilities.max(axis=1), right),
        coverage=float(np.mean(holds)) if holds else None,
        width=float(np.mean(sizes)) if sizes else None,
    )


def _estimates(answers: Sequence[Fused | None], record: Record) -> Score:
    rows = [index for index, fused in enumerate(answers) if fused is not None and fused.value is not None]
    if not rows:
        return Score(n=len(record), answered=0.0)
    truth = np.asarray(record.truth, dtype=np.float64)[rows]
    given = [answers[index] for index in rows]
    values = np.array([fused.value for fused in given if fused is not None], dtype=np.float64)
    stds = [fused.std for fused in given if fused is not None]
    intervals = [fused.interval for fused in given if fused is not None]
    error = values - truth
    spread = float(((truth - truth.mean()) ** 2).sum())
    inside = [low <= true <= high for true, (low, high) in _pairs(truth, intervals)]
    widths = [high - low for _, (low, high) in _pairs(truth, intervals)]
    return Score(
        n=len(record),
        answered=len(rows) / len(record),
        mae=float(np.abs(error).mean()),
        r2=1.0 - float((error**2).sum()) / spread if spread > 0 else None,
        crps=None if any(std is None for std in stds) else _crps(error, np.array(stds, dtype=np.float64)),
        coverage=float(np.mean(inside)) if inside else None,
        width=float(np.mean(widths)) if widths else None,
    )


def _pairs(
    truth: NDArray[np.float64], intervals: Sequence[tuple[float, float] | None]
) -> list[tuple[float, tuple[float, float]]]:
    return [(true, ends) for true, ends in zip(truth.tolist(), intervals, strict=True) if ends is not None]


def _crps(error: NDArray[np.float64], std: NDArray[np.float64]) -> float:
    """Mean CRPS of Gaussians (Gneiting & Raftery 2007, eq. 21)."""
    z = error / std
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    below = 0.5 * (1.0 + np.array([math.erf(one / math.sqrt(2)) for one in z.tolist()]))
    return float((std * (z * (2 * below - 1) + 2 * density - 1 / math.sqrt(math.pi))).mean())
