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
