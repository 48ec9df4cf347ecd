"""What can be learned from a record: temperatures, skills, confusion matrices, thresholds. Plain numpy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edge_sdk.fitting.record import Opinion, Record
from edge_sdk.fusion.chain import tempered

_GOLDEN = (math.sqrt(5) - 1) / 2


def lowest(loss: Callable[[float], float], low: float, high: float, steps: int = 30) -> float:
    """Where a one-dimensional loss is least, by golden section (Kiefer 1953)."""
    a, b = low, high
    x, y = b - _GOLDEN * (b - a), a + _GOLDEN * (b - a)
    at_x, at_y = loss(x), loss(y)
    for _ in range(steps):
        if at_x < at_y:
            b, y, at_y = y, x, at_x
            x = b - _GOLDEN * (b - a)
            at_x = loss(x)
        else:
            a, x, at_x = x, y, at_y
            y = a + _GOLDEN * (b - a)
            at_y = loss(y)
    return (a + b) / 2


def balance(truth: NDArray[np.int64], groups: NDArray[np.str_]) -> NDArray[np.float64]:
    """Weights ``(n,)`` that let each class count the same, and within it each group; they sum to 1.

    Groups differ in their share of classes (an empty office on Sunday); what is learned must not lean on that.
    """
    weights = np.zeros(len(truth))
    for label in np.unique(truth):
        of_label = truth == label
        present = np.unique(groups[of_label])
        for group in present:
            rows = of_label & (groups == group)
            weights[rows] = 1.0 / (len(present) * np.count_nonzero(rows))
    out: NDArray[np.float64] = weights / weights.sum()
    return out


def temperature(record: Record, name: str, *, doubt: float = 0.05) -> float:
    """Calibration temperature of one contributor (Guo et al. 2017); for estimates, how much its deviation is off.

    It never sharpens, and its loss is bounded by a `doubt`: one hour in which a sensor was confidently wrong is to
    be met by fusion, not by believing it less for ever.
    """
    opinion = record.opinions[name]
    rows = opinion.fresh
    if not rows.any():
        return 1.0
    if opinion.probabilities is None:
        if opinion.values is None or opinion.stds is None:
            return 1.0
        off = (opinion.values[rows] - record.truth[rows]) / np.maximum(opinion.stds[rows], 1e-12)
        return round(float(np.clip(np.sqrt(np.mean(np.minimum(off**2, 25.0))), 0.1, 10.0)), 4)
    said = opinion.probabilities[rows]
    truth = np.asarray(record.truth[rows], dtype=np.int64)
    n, n_classes = said.shape

    def loss(log_t: float) -> float:
        at_truth = tempered(said, math.exp(log_t))[np.arange(n), truth]
        return -float(np.log((1 - doubt) * at_truth + doubt / n_classes).mean())

    return round(math.exp(lowest(loss, 0.0, 2.3)), 4)


def calibrated(opinion: Opinion, by: float) -> NDArray[np.float64]:
    """A contributor's probabilities after its temperature."""
    assert opinion.probabilities is not None
    return tempered(opinion.probabilities, by) if by != 1.0 else opinion.probabilities


def skills(record: Record, members: Sequence[Sequence[int]]) -> tuple[dict[str, float], dict[str, float]]:
    """How well each contributor tells groups of classes apart, and classes within their group: 0 (chance) to 1.

    Skill is accuracy above chance, with classes and days balanced; it does not look at confidence. Nothing is fitted
    jointly, so that one that was always right in training does not silence all others.
    """
    outer: dict[str, float] = {}
    inner: dict[str, float] = {}
    truth = np.asarray(record.truth, dtype=np.int64)
    group_of = np.zeros(len(record.labels), dtype=np.int64)
    for index, group in enumerate(members):
        group_of[list(group)] = index
    for name, opinion in record.opinions.items():
        rows, said = opinion.fresh, opinion.probabilities
        assert said is not None
        mass = np.stack([said[:, list(group)].sum(axis=1) for group in members], axis=1)
        outer[name] = _skill(mass[rows], group_of[truth[rows]], record.groups[rows])
        each = []
        for index, group in enumerate(members):
            there = rows & (group_of[truth] == index)
            if len(np.unique(truth[there])) < 2:
                continue
            place = np.searchsorted(np.array(group), truth[there])
            each.append(_skill(said[there][:, list(group)], place, record.groups[there]))
        inner[name] = float(np.mean(each)) if each else outer[name]
    return outer, inner


def _skill(said: NDArray[np.float64], truth: NDArray[np.int64], groups: NDArray[np.str_]) -> float:
    n_classes = len(np.unique(truth))
    if n_classes < 2:
        return 0.0
    right = float(balance(truth, groups) @ (said.argmax(axis=1) == truth))
    return max(0.0, (right - 1 / n_classes) / (1 - 1 / n_classes))


def confusion(record: Record, name: str, temperature: float, *, evidence: float = 30.0) -> NDArray[np.float64]:
    """What a contributor says, given the truth: rows of probabilities, smoothed as by `evidence` cases of each class.

    Moments that follow each other are no independent cases; counting them as such would make rare confusions
    impossible.
    """
    opinion = record.opinions[name]
    said = calibrated(opinion, temperature)
    truth = np.asarray(record.truth, dtype=np.int64)
    n = said.shape[1]
    rows = np.full((n, n), 1.0 / n)
    for label in range(n):
        there = opinion.fresh & (truth == label)
        mean = said[there].mean(axis=0) if there.any() else np.full(n, 1.0 / n)
        rows[label] = (mean * evidence + 0.5) / (evidence + 0.5 * n)
    out: NDArray[np.float64] = rows / rows.sum(axis=1, keepdims=True)
    return out


def quantile(scores: NDArray[np.float64], coverage: float) -> float:
    """The split-conformal quantile: ceil((n + 1) · coverage) / n, finite-sample valid for exchangeable scores."""
    n = len(scores)
    rank = min(n, math.ceil((n + 1) * coverage))
    return float(np.sort(scores)[rank - 1])
