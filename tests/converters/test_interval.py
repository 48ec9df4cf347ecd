from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.evaluate.interval import auc, mean_interval, wilson


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_wilson_interval_holds_the_share_and_stays_a_share(pair: tuple[int, int]) -> None:
    hits, n = pair

    low, high = wilson(hits, n)

    assert 0.0 <= low <= hits / n <= high + 1e-12
    assert high <= 1.0
    assert high > low


def test_a_wilson_interval_is_the_published_one() -> None:
    # Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_a_mean_of_one_has_no_width() -> None:
    assert mean_interval(np.array([2.0])) == (2.0, 2.0)


def test_the_area_under_the_curve_counts_pairs_and_ties_half() -> None:
    scores = np.array([0.1, 0.4, 0.4, 0.8], np.float32)

    assert auc(scores, np.array([False, False, True, True]))[0] == pytest.approx(3.5 / 4)


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=2, max_size=60))
def test_turning_every_score_round_turns_the_area_round(pairs: list[tuple[int, bool]]) -> None:
    scores = np.array([score for score, _ in pairs], np.float32)
    truth = np.array([is_positive for _, is_positive in pairs])

    area, low, high = auc(scores, truth)

    assert 0.0 <= low <= area + 1e-9
    assert area - 1e-9 <= high <= 1.0
    assert auc(-scores, truth)[0] == pytest.approx(1 - area)
