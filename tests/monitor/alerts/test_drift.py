"""Distances between samples obey their laws."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sdk.monitor.alerts.drift import by_chance, kolmogorov_smirnov, population_stability

samples = st.lists(st.floats(0, 1), min_size=1, max_size=60)
counts = st.dictionaries(st.sampled_from("abcd"), st.integers(1, 1000), min_size=1)


@given(samples, samples)
def test_ks_is_the_greatest_gap_between_the_distribution_functions(before: list[float], now: list[float]) -> None:
    at = np.array([*before, *now])
    gaps = [np.mean(np.array(before) <= value) - np.mean(np.array(now) <= value) for value in at]

    assert kolmogorov_smirnov(before, now) == pytest.approx(float(np.abs(gaps).max()))


@given(counts, counts)
def test_psi_is_never_negative_and_the_same_both_ways_and_zero_for_the_same(
    before: dict[str, float], now: dict[str, float]
) -> None:
    index = population_stability(before, now)

    assert index >= 0
    assert index == pytest.approx(population_stability(now, before))
    assert population_stability(before, before) == 0


def test_samples_of_one_source_are_seldom_further_apart_than_chance_allows() -> None:
    rng = random.Random(5)
    far = sum(
        kolmogorov_smirnov([rng.random() for _ in range(80)], [rng.random() for _ in range(80)]) > by_chance(80, 80)
        for _ in range(400)
    )

    assert far <= 4


def test_of_many_pairs_the_furthest_is_seldom_beyond_chance() -> None:
    rng = random.Random(6)

    def furthest() -> float:
        return max(
            kolmogorov_smirnov([rng.random() for _ in range(60)], [rng.random() for _ in range(60)]) for _ in range(20)
        )

    assert sum(furthest() > by_chance(60, 60, of=20) for _ in range(100)) <= 1
    assert by_chance(60, 60) < by_chance(60, 60, of=20)
