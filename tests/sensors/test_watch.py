from __future__ import annotations

import pytest

from edge_sdk.sensors.watch import SensorState, Watch

SECOND = 1_000_000_000


def fed(watch: Watch, *, every_s: float, n: int, seconds: float) -> int:
    """Feed blocks of `n` at a steady pace; the time of the last."""
    watch.begin(0)
    now_ns = 0
    while now_ns < seconds * SECOND:
        now_ns += round(every_s * SECOND)
        watch.saw(n, now_ns)
    return now_ns


def test_a_steady_sensor_is_running() -> None:
    watch = Watch(rate_hz=10, block_s=1)

    now_ns = fed(watch, every_s=1, n=10, seconds=100)

    assert watch.judge(now_ns) is SensorState.RUNNING
    assert watch.measured_hz(now_ns) == pytest.approx(10)


def test_silence_is_stale_and_then_lost() -> None:
    watch = Watch(rate_hz=10, block_s=1)

    now_ns = fed(watch, every_s=1, n=10, seconds=60)

    assert watch.judge(now_ns + 4 * SECOND) is SensorState.RUNNING
    assert watch.judge(now_ns + 6 * SECOND) is SensorState.STALE
    assert watch.judge(now_ns + 16 * SECOND) is SensorState.LOST
    assert "16 s" in watch.why(SensorState.LOST, now_ns + 16 * SECOND)


def test_silence_from_the_beginning_counts_too() -> None:
    watch = Watch(rate_hz=1)
    watch.begin(100 * SECOND)

    assert watch.judge(104 * SECOND) is SensorState.RUNNING
    assert watch.judge(106 * SECOND) is SensorState.STALE


@pytest.mark.parametrize(("every_s", "state"), [(0.7, "off_rate"), (0.95, "running"), (1.4, "off_rate")])
def test_a_rate_that_is_a_fifth_off_is_noticed(every_s: float, state: str) -> None:
    watch = Watch(rate_hz=10, block_s=1)

    now_ns = fed(watch, every_s=every_s, n=10, seconds=100)

    assert watch.judge(now_ns).value == state


def test_a_rate_at_the_edge_does_not_flip_to_and_fro() -> None:
    watch = Watch(rate_hz=10, block_s=1)
    now_ns = fed(watch, every_s=0.7, n=10, seconds=100)
    turns = [watch.judge(now_ns)]
    for every_s in [0.85] * 100 + [1.0] * 100:
        now_ns += round(every_s * SECOND)
        watch.saw(10, now_ns)
        turns.append(watch.judge(now_ns))

    assert [state for n, state in enumerate(turns) if not n or state is not turns[n - 1]] == [
        SensorState.OFF_RATE,
        SensorState.RUNNING,
    ]
    assert turns[100] is SensorState.OFF_RATE


def test_a_slow_sensor_is_given_its_time() -> None:
    watch = Watch(rate_hz=1 / 60)

    now_ns = fed(watch, every_s=60, n=1, seconds=600)

    assert watch.judge(now_ns + 200 * SECOND) is SensorState.RUNNING
    assert watch.judge(now_ns + 301 * SECOND) is SensorState.STALE


def test_what_comes_when_it_comes_is_not_watched_unless_told_to() -> None:
    assert not Watch(rate_hz=None).is_watching
    watch = Watch(rate_hz=None, stale_after_s=2)
    watch.begin(0)
    assert watch.judge(3 * SECOND) is SensorState.STALE


def test_memory_is_bounded_by_the_span_and_not_by_the_age() -> None:
    watch = Watch(rate_hz=100, block_s=0.1)

    fed(watch, every_s=0.1, n=10, seconds=3000)

    assert len(watch._came) < 400
