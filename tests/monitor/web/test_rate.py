"""A bound on requests."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_sdk.monitor.web.rate import CALLERS, RateLimit


@given(st.lists(st.floats(0, 0.5), max_size=200))
def test_nobody_gets_more_than_the_burst_and_the_rate(pauses: list[float]) -> None:
    limit = RateLimit(10.0, burst_s=2.0)
    now = answered = 0.0
    for pause in pauses:
        now += pause
        answered += not limit.wait_s("anna", now)
        assert answered <= 20 + 10 * now + 1e-6


def test_who_waits_as_long_as_told_is_answered() -> None:
    limit = RateLimit(2.0, burst_s=1.0)
    assert [limit.wait_s("anna", 0.0) for _ in range(3)] == [0.0, 0.0, 0.5]
    assert limit.wait_s("bert", 0.0) == 0.0
    assert limit.wait_s("anna", 0.5) == 0.0


def test_no_bound_is_no_bound_and_callers_are_not_remembered_for_ever() -> None:
    assert not any(RateLimit(0.0).wait_s("anna", 0.0) for _ in range(10_000))
    limit = RateLimit(1.0)
    for number in range(CALLERS + 50):
        limit.wait_s(str(number), 0.0)
    assert len(limit._buckets) == CALLERS
