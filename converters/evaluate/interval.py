"""Intervals: how far a figure measured on n samples may be from the truth."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_Z95 = 1.959963984540054


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % score interval of a proportion (Wilson 1927): right for small n and near 0 and 1.

    Args:
        hits: How many of `n` were right.
        n: At least 1.
    """
    p = hits / n
    z2 = _Z95 * _Z95
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # At the ends the formula gives exactly 0 and 1, but for rounding.
    return (max(0.0, centre - half) if hits else 0.0), (min(1.0, centre + half) if hits < n else 1.0)


def mean_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """95 % interval of a mean, by the normal approximation; the mean itself where n is 1."""
    mean = float(values.mean())
    if len(values) < 2:
        return mean, mean
    half = _Z95 * float(values.std(ddof=1)) / math.sqrt(len(values))
    return mean - half, mean + half


def auc(scores: NDArray[np.float32], is_positive: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Area under the ROC curve and its 95 % interval (Hanley & McNeil 1982).

    Args:
        scores: Higher is more likely positive.
        is_positive: The truth; both kinds must be there, else the area is 0.5 and the interval 0 to 1.
    """
    n_positive, n_negative = int(is_positive.sum()), int((~is_positive).sum())
    if not n_positive or not n_negative:
        return 0.5, 0.0, 1.0
    order, counts = np.unique(scores, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2)[np.searchsorted(order, scores)]  # ties share their mean rank
    area = float((ranks[is_positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))
    q1, q2 = area / (2 - area), 2 * area * area / (1 + area)
    spread = area * (1 - area) + (n_positive - 1) * (q1 - area * area) + (n_negative - 1) * (q2 - area * area)
    half = _Z95 * math.sqrt(max(0.0, spread) / (n_positive * n_negative))
    return area, max(0.0, area - half), min(1.0, area + half)
