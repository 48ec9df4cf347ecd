from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sdk.base.errors import ConfigError
from edge_sdk.windowing.grid import Grid


@given(rate=st.sampled_from([1 / 30, 1 / 3600, 0.1, 3.0, 7.7, 50.0, 16_000.0, 44_100.0]), k=st.integers(0, 10**10))
def test_a_sample_is_nearest_to_its_own_time(rate: float, k: int) -> None:
    grid = Grid(rate)
    assert grid.nearest(grid.time_ns(k)) == k


def test_a_third_of_a_hertz_stays_exact_after_fifty_years() -> None:
    assert Grid(1 / 3).time_ns(10**9 // 2) == 3 * 10**18 // 2


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_rate_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match="rate_hz"):
        Grid(rate)
