"""A bound on bytes per second."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_sdk.mqtt.meter import Meter


@given(st.lists(st.tuples(st.integers(1, 5000), st.floats(0, 0.5)), min_size=1, max_size=60))
def test_over_any_time_no_more_is_sent_than_the_bound_and_one_message(steps: list[tuple[int, float]]) -> None:
    meter, now_ns, sent = Meter(1000.0), 0, 0
    for size, pause_s in steps:
        now_ns += round(pause_s * 1e9)
        wait_s = meter.wait_s(now_ns)
        now_ns += round(wait_s * 1e9) + 1
        assert meter.wait_s(now_ns) < 1e-6
        meter.spend("t", bytes(size), now_ns)
        sent += size
        largest = max(size for size, _ in steps)
        assert sent <= 500 + 1000 * now_ns / 1e9 + largest + 1


def test_without_a_bound_it_never_waits() -> None:
    meter = Meter()
    meter.spend("t", bytes(10**9), 0)

    assert meter.wait_s(0) == 0.0
    assert meter.pack_bytes(4096) == 4096


def test_a_pack_takes_the_link_for_half_a_second_at_most() -> None:
    assert Meter(2000.0).pack_bytes(256 * 1024) == 1000
