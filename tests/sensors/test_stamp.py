from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_sdk.base.clock import ManualClock
from edge_sdk.sensors.stamp import Stamp, Stamper

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


def test_jitter_of_arrival_does_not_show() -> None:
    stamper, rng = Stamper(100.0), np.random.default_rng(0)

    starts = [
        stamper.stamp(10, START + n * SECOND // 10 + int(rng.integers(0, 20_000_000))).start_ns for n in range(99)
    ]

    steps = np.diff(starts) / 1e6
    assert steps.min() > 99.8
    assert steps.max() < 100.2


def test_a_crystal_that_runs_fast_is_followed() -> None:
    stamper, rate_hz, real_hz = Stamper(16_000.0), 16_000.0, 16_000.0 * (1 + 100e-6)
    now_ns = START
    for n in range(6_000):  # ten minutes; by then its own count would be 60 ms ahead
        now_ns = START + round((n + 1) * 1_600 / real_hz * 1e9)
        stamped = stamper.stamp(1_600, now_ns)

    end_ns = stamped.start_ns + 1_599 / rate_hz * 1e9
    assert abs(end_ns - now_ns) < 5_000_000


def test_a_gap_begins_a_new_grid() -> None:
    stamper = Stamper(10.0)
    stamper.stamp(10, START)

    after = stamper.stamp(10, START + 60 * SECOND)

    assert after.start_ns == START + 60 * SECOND - 900_000_000


def test_rows_of_a_burst_without_a_rate_are_spread_over_the_time_since_the_last() -> None:
    stamper = Stamper()
    stamper.stamp(1, START)

    times = stamper.stamp(4, START + SECOND).times_ns

    assert times is not None
    assert times.tolist() == [START + SECOND * n // 4 for n in (1, 2, 3, 4)]


@settings(max_examples=60)
@given(
    bursts=st.lists(st.tuples(st.integers(1, 50), st.integers(1_000_000, 20 * SECOND)), min_size=2, max_size=30),
    rate_hz=st.sampled_from([None, 0.1, 1.0, 50.0]),
)
def test_times_never_lie_ahead_by_much_and_rise_within_a_burst(
    bursts: list[tuple[int, int]], rate_hz: float | None
) -> None:
    stamper, now_ns, last_ns = Stamper(rate_hz), START, 0
    for n, later_ns in bursts:
        now_ns += later_ns
        stamped = stamper.stamp(n, now_ns)
        times = stamped.times_ns
        if times is not None:
            assert (np.diff(times) > 0).all()
            assert last_ns < int(times[0])
            assert int(times[-1]) == last_ns or int(times[-1]) <= now_ns
            last_ns = int(times[-1])
        else:
            assert rate_hz is not None
            end_ns = stamped.start_ns + (n - 1) / rate_hz * 1e9
            assert abs(end_ns - now_ns) <= max(SECOND // 4, 4 / rate_hz * SECOND) + 1000


def test_a_reading_says_when_it_was_at_hand() -> None:
    clock = ManualClock()

    reading = Stamp("gps", clock).reading(np.zeros((1, 2), np.float32))

    assert (reading.observed_ns, reading.sensor, reading.start_ns) == (clock.wall, "gps", clock.wall)
