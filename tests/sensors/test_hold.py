from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from edge_sdk.sensors.hold import Hold

SECOND = 1_000_000_000
NAN = math.nan


def test_a_value_counts_for_a_while_after_it_came() -> None:
    hold = Hold(2, hold_s=10)

    assert repr(hold.row([1.0, NAN], 0)) == "[1.0, nan]"
    assert hold.row([NAN, 2.0], 9 * SECOND) == [1.0, 2.0]
    assert repr(hold.row([NAN, 3.0], 11 * SECOND)) == "[nan, 3.0]"


@given(
    said=st.lists(
        st.tuples(
            st.integers(1, 20 * SECOND), st.lists(st.one_of(st.just(NAN), st.floats(-9, 9)), min_size=3, max_size=3)
        )
    ),
    hold_s=st.sampled_from([0.0, 5.0, 1e6]),
)
def test_what_is_said_now_is_always_in_the_row_and_nothing_is_invented(
    said: list[tuple[int, list[float]]], hold_s: float
) -> None:
    hold, now_ns = Hold(3, hold_s), 0
    ever: list[set[float]] = [set(), set(), set()]
    for later_ns, values in said:
        now_ns += later_ns
        row = hold.row(values, now_ns)
        for at, (value, given_back) in enumerate(zip(values, row, strict=True)):
            if not math.isnan(value):
                ever[at].add(value)
                assert given_back == value
            elif not math.isnan(given_back):
                assert given_back in ever[at]
                assert hold_s > 0
