from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence

import anyio
import anyio.lowlevel
import numpy as np
import pytest

from edge_sdk.base.clock import SystemClock
from edge_sdk.base.errors import SensorError
from edge_sdk.contract.reading import Reading
from edge_sdk.sensors.poll import Beats, Poller, PollOptions
from edge_sdk.sensors.worker import Worker

pytestmark = pytest.mark.anyio
SECOND = 1_000_000_000


async def polled(
    sample: Callable[[], Sequence[float] | None], *, enough: int, **options: float
) -> tuple[list[Reading], Counter[str]]:
    came: list[Reading] = []
    counters: Counter[str] = Counter()
    poller = Poller("dial", PollOptions(**options), clock=SystemClock(), counters=counters)

    async def emit(reading: Reading) -> None:
        came.append(reading)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(poller.run, Worker("dial"), sample, emit)
            while sum(len(reading.samples) for reading in came) < enough:
                await anyio.sleep(0.001)
            group.cancel_scope.cancel()
    return came, counters


@pytest.mark.parametrize("rate_hz", [10.0, 200.0])
async def test_samples_lie_on_the_grid_of_the_wall_clock(rate_hz: float) -> None:
    came, _ = await polled(lambda: [1.0, 2.0], enough=8, rate_hz=rate_hz, block_s=0.2)

    for reading in came:
        position = reading.start_ns * rate_hz / SECOND
        assert abs(position - round(position)) < 1e-3
        assert reading.rate_hz == rate_hz
        assert reading.samples.dtype == np.float32
        assert reading.sample_times_ns[-1] <= reading.observed_ns + SECOND / rate_hz
    assert (np.diff([reading.start_ns for reading in came]) > 0).all()


async def test_a_source_that_answers_too_late_leaves_gaps_that_are_counted() -> None:
    def slow() -> list[float]:
        time.sleep(0.055)  # the source itself is slow: that is what is tested
        return [1.0]

    came, counters = await polled(slow, enough=6, rate_hz=100.0, block_s=0.02)

    assert counters["samples.missed"] > 0
    assert len({int(t) for reading in came for t in reading.sample_times_ns}) == sum(len(r.samples) for r in came)


async def test_a_source_with_nothing_to_say_leaves_a_gap() -> None:
    turns = iter(range(10_000))

    came, counters = await polled(lambda: None if next(turns) % 3 == 1 else [1.0], enough=6, rate_hz=50, block_s=0.2)

    assert counters["samples.unreadable"] >= 2
    assert all(np.isfinite(reading.samples).all() for reading in came)


async def test_what_the_source_raises_comes_out() -> None:
    def broken() -> list[float]:
        raise OSError(121, "Remote I/O error")

    with pytest.raises(SensorError, match="Remote I/O"):
        await Poller("dial", PollOptions(rate_hz=50), clock=SystemClock(), counters=Counter()).run(
            Worker("dial"), broken, lambda reading: anyio.lowlevel.checkpoint()
        )


@pytest.mark.parametrize("rate_hz", [1 / 30, 0.1, 1.0, 3.0, 44.1, 1000.0])
def test_beats_and_times_agree(rate_hz: float) -> None:
    beats = Beats(rate_hz)
    now_ns = 1_763_000_000_123_456_789

    beat = beats.after(now_ns)

    assert beats.time_ns(beat) >= now_ns > beats.time_ns(beat - 1) - 2
    assert beats.nearest(beats.time_ns(beat)) == beat
