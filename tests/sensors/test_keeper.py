from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence

import anyio
import numpy as np
import pytest

from edge_sdk.base.backoff import Backoff
from edge_sdk.base.clock import SystemClock
from edge_sdk.base.errors import ConfigError, SensorError
from edge_sdk.contract.reading import Reading
from edge_sdk.sensors.base import Emit
from edge_sdk.sensors.channels import ChannelConfig
from edge_sdk.sensors.keeper import Keeper
from edge_sdk.sensors.watch import SensorState

pytestmark = pytest.mark.anyio
LOST, RUNNING, STALE, ENDED = SensorState.LOST, SensorState.RUNNING, SensorState.STALE, SensorState.ENDED


class Scripted:
    """Follows a script: a number emits so many samples, an error is raised, None is silence until cancelled."""

    name = "thing"
    channels: Sequence[str] = ("a", "b")
    units: Sequence[str] = ("V", "")
    rate_hz: float | None = None
    block_s = 0.0

    def __init__(self, *script: Exception | int | None) -> None:
        self._script = list(script)
        self.counters: Counter[str] = Counter()
        self.cancelled = 0

    async def run(self, emit: Emit) -> None:
        while self._script:
            step = self._script.pop(0)
            if isinstance(step, Exception):
                raise step
            if step is None:
                try:
                    await anyio.sleep_forever()
                finally:
                    self.cancelled += 1
            else:
                await emit(Reading(self.name, np.ones((step, 2), np.float32), 0, rate_hz=1.0))


class World:
    def __init__(self, sensor: Scripted, **settings: object) -> None:
        self.came: list[Reading] = []
        self.turns: list[SensorState] = []
        self.said: list[str] = []
        backoff = Backoff(base_s=0.001, rng=random.Random(1))
        self.keeper = Keeper(sensor, clock=SystemClock(), backoff=backoff, **settings)  # type: ignore[arg-type]

    async def emit(self, reading: Reading) -> None:
        self.came.append(reading)

    def turned(self, state: SensorState, why: str) -> None:
        self.turns.append(state)
        self.said.append(why)

    async def run(self, until: Callable[[], bool] | None = None) -> None:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:

                async def kept() -> None:
                    await self.keeper.run(self.emit, self.turned)
                    group.cancel_scope.cancel()

                group.start_soon(kept)
                while until is None or not until():
                    await anyio.sleep(0.001)
                group.cancel_scope.cancel()


async def test_a_sensor_that_is_lost_is_found_again_and_both_are_told_once() -> None:
    gone = [SensorError("unplugged") for _ in range(4)]
    world = World(Scripted(3, *gone, 2))

    await world.run()

    assert world.turns == [RUNNING, LOST, RUNNING, ENDED]
    assert "unplugged" in world.said[1]
    assert "was lost for" in world.said[2]
    assert world.keeper.counters == {"lost": 1, "tries": 4}
    assert [len(reading.samples) for reading in world.came] == [3, 2]


async def test_a_bug_in_a_plug_in_is_a_lost_sensor_and_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    world = World(Scripted(ZeroDivisionError("bug"), 1))

    await world.run()

    assert world.turns == [LOST, RUNNING, ENDED]
    assert "ZeroDivisionError" in caplog.text


async def test_silence_is_stale_then_lost_and_the_sensor_is_opened_anew() -> None:
    sensor = Scripted(1, None, 1)
    world = World(sensor, stale_after_s=0.05)

    await world.run()

    assert world.turns == [RUNNING, STALE, LOST, RUNNING, ENDED]
    assert "Nothing has come" in world.said[2]
    assert sensor.cancelled == 1
    assert world.keeper.counters == {"lost": 1, "stale": 1, "tries": 1}


async def test_a_reader_that_is_slow_does_not_make_the_sensor_stale() -> None:
    world = World(Scripted(1, 1, 1), stale_after_s=0.02)

    async def slowly(reading: Reading) -> None:
        await anyio.sleep(0.1)

    await world.keeper.run(slowly, world.turned)

    assert world.turns == [RUNNING, ENDED]


async def test_what_is_handed_on_is_corrected() -> None:
    world = World(Scripted(1), channels={"volts": ChannelConfig(source="a", scale=2, offset=1)})

    await world.run()

    assert world.came[0].samples.tolist() == [[3.0]]
    assert (world.keeper.channels, world.keeper.units) == (("volts",), ("V",))


async def test_a_block_with_other_channels_than_it_said_is_counted_and_dropped() -> None:
    class Odd(Scripted):
        channels = ("a", "b", "c")
        units = ("", "", "")

    world = World(Odd(1, 1))

    await world.run()

    assert world.keeper.counters == {"readings.malformed": 2}
    assert world.came == []


async def test_counters_of_the_sensor_are_told_with_the_keepers() -> None:
    sensor = Scripted(1)
    sensor.counters["lines.malformed"] = 7
    world = World(sensor)

    await world.run()

    assert world.keeper.counters == {"lines.malformed": 7}


def test_a_sensor_that_says_only_what_it_must_can_be_kept_too() -> None:
    class Plain:
        name = "plain"
        channels: Sequence[str] = ("x",)

        async def run(self, emit: Emit) -> None:
            pass

    keeper = Keeper(Plain(), clock=SystemClock())

    assert (keeper.units, keeper.rate_hz, keeper.counters) == (("",), None, {})


def test_a_channel_that_the_sensor_has_not_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="'thing'"):
        Keeper(Scripted(), clock=SystemClock(), channels={"volt": ChannelConfig()})
