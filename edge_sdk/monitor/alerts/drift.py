"""Drift: how far two samples are from each other. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log, sqrt

FLOOR = 1e-4
"""A share of zero counts as this much: a label that was never there before is far away, and not infinitely far."""
CHANCE = 1e-3
"""A distance that chance exceeds less often than so is none of chance."""


def population_stability(before: Mapping[str, float], now: Mapping[str, float]) -> float:
    """The population stability index of two counts by label: below 0.1 the same, above 0.25 another population."""
    total_before, total_now = sum(before.values()), sum(now.values())
    if not total_before or not total_now:
        return 0.0
    index = 0.0
    for label in before.keys() | now.keys():
        was = max(before.get(label, 0.0) / total_before, FLOOR)
        is_ = max(now.get(label, 0.0) / total_now, FLOOR)
        index += (is_ - was) * log(is_ / was)
    return index


def kolmogorov_smirnov(before: Sequence[float], now: Sequence[float]) -> float:
    """The greatest distance of two samples' distribution functions, 0 to 1."""
    first, second = sorted(before), sorted(now)
    at, to, distance = 0, 0, 0.0
    while at < len(first) and to < len(second):
        value = min(first[at], second[to])
        while at < len(first) and first[at] == value:
            at += 1
        while to < len(second) and second[to] == value:
            to += 1
        distance = max(distance, abs(at / len(first) - to / len(second)))
    return distance


def by_chance(before: int, now: int, *, of: int = 1) -> float:
    """A distance that the greatest of so many pairs of samples exceeds by chance once in a thousand times.

    Args:
        before: Samples in the one.
        now: Samples in the other.
        of: How many pairs are looked at (Bonferroni).
    """
    sure = sqrt(-log(CHANCE / of / 2) / 2)  # quantile of the Kolmogorov distribution
    return sure * sqrt((before + now) / (before * now)) if before and now else 1.0
