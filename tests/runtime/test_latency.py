from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sdk.runtime.latency import BOUNDS_S, Latency

SECONDS = st.lists(st.floats(1e-5, 10.0), min_size=1, max_size=50)


def test_nothing_has_no_quantile() -> None:
    assert Latency().quantile_s(0.5) is None


@given(SECONDS, st.floats(0.01, 1.0))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(taken: list[float], share: float) -> None:
    latency = Latency()
    for seconds in taken:
        latency.took(seconds)

    rank = next(index for index in range(len(taken)) if index + 1 >= share * len(taken))
    true = sorted(taken)[rank]
    bucket = next(index for index, bound in enumerate(BOUNDS_S) if true <= bound)
    found = latency.quantile_s(share)

    assert found is not None
    assert (BOUNDS_S[bucket - 1] if bucket else 0.0) - 1e-12 <= found <= BOUNDS_S[bucket] + 1e-12
    assert len(latency) == len(taken)
    assert latency.total_s == pytest.approx(sum(taken))


def test_what_takes_for_ever_is_counted_too() -> None:
    latency = Latency()

    latency.took(1e6)

    assert latency.counts[-1] == 1
    assert latency.quantile_s(0.5) == BOUNDS_S[-1]
