from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import numpy as np
import pytest

from edge_sdk.base.clock import SystemClock
from edge_sdk.base.errors import OutboxError, SensorError
from edge_sdk.contract.envelope import OutboxRow
from edge_sdk.contract.reading import Reading
from edge_sdk.contract.result import FusedResult
from edge_sdk.inference.model import Model
from edge_sdk.outbox.memory import MemoryOutbox
from edge_sdk.runtime.engine import Engine
from edge_sdk.runtime.pipeline import Pipeline
from edge_sdk.runtime.scheduler import Scheduler
from edge_sdk.sensors.base import Emit
from edge_sdk.sensors.watch import SensorState
from tests.models import tiny_bundle

pytestmark = pytest.mark.anyio
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


class Scripted:
    """A sensor that follows a script: blocks to emit, and errors to raise in between."""

    channels: Sequence[str] = ("0", "1")

    def __init__(self, name: str, *script: Exception | int, for_ever: bool = False) -> None:
        self.name = name
        self._script = list(script)
        self._for_ever = for_ever
        self._first = 0

    async def run(self, emit: Emit) -> None:
        while self._script:
            step = self._script.pop(0)
            if isinstance(step, Exception):
                raise step
            samples = np.full((step, 2), 0.5, np.float32)
            await emit(Reading(self.name, samples, START + self._first * SECOND // 2, rate_hz=2.0))
            self._first += step
        if self._for_ever:
            await anyio.sleep_forever()


class RefusingOutbox(MemoryOutbox):
    """An outbox whose medium refuses to write, the first so many times."""

    refusals = 1

    def put(self, results: Sequence[FusedResult]) -> Sequence[OutboxRow]:
        if self.refusals:
            self.refusals -= 1
            raise OutboxError("No space left on device.")
        return super().put(results)


class World:
    """An engine with everything that it needs."""

    def __init__(
        self, directory: Path, *sensors: Scripted, outbox: MemoryOutbox | None = None, commit_within_s: float = 0.0
    ) -> None:
        bundle = tiny_bundle(directory / "tiny.edge")
        self.outbox = outbox or MemoryOutbox(clock=SystemClock())
        self.accepted: list[OutboxRow] = []
        self.commits: list[int] = []
        self.noticed: list[str] = []
        self.engine = Engine(
            sensors=sensors,
            streams=[Scheduler(Pipeline([Model.open(bundle)]), clock=SystemClock())],
            outbox=self.outbox,
            clock=SystemClock(),
            accepted=self._accept,
            noticed=self._notice,
            commit_within_s=commit_within_s,
            commit_results=4,
        )

    def _accept(self, rows: Sequence[OutboxRow]) -> None:
        self.accepted.extend(rows)
        self.commits.append(len(rows))

    def _notice(self, name: str, message: str, detail: dict[str, Any]) -> None:
        self.noticed.append(name)


async def test_everything_measured_is_predicted_committed_and_told(tmp_path: Path) -> None:
    world = World(tmp_path, Scripted("thing", 4, 4, 4))

    with anyio.fail_after(60):
        await world.engine.run()

    assert [row.seq for row in world.accepted] == [1, 2, 3, 4, 5]
    assert world.engine.counters.all()["results.accepted"] == 5
    assert world.engine.sensors == {"thing": SensorState.ENDED}


async def test_a_lost_sensor_is_a_state_and_an_event_and_comes_back(tmp_path: Path) -> None:
    world = World(tmp_path, Scripted("thing", 4, SensorError("unplugged"), 4))

    with anyio.fail_after(60):
        await world.engine.run()

    assert world.noticed == ["sensor.running", "sensor.lost", "sensor.running", "sensor.ended"]
    assert world.engine.sensor_counters == {"sensors.lost.thing": 1, "sensors.tries.thing": 1}
    assert len(world.accepted) == 3


async def test_a_plug_in_with_a_bug_is_a_lost_sensor_and_not_a_crash(tmp_path: Path) -> None:
    world = World(tmp_path, Scripted("thing", ZeroDivisionError("bug"), 4))

    with anyio.fail_after(60):
        await world.engine.run()

    assert "sensor.lost" in world.noticed
    assert len(world.accepted) == 1


async def test_a_stop_ends_the_measuring_and_commits_what_was_measured(tmp_path: Path) -> None:
    world = World(tmp_path, Scripted("thing", 4, 4, for_ever=True))

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(world.engine.run)
            while world.engine.counters.all().get("readings", 0) < 2:
                await anyio.sleep(0.001)
            world.engine.stop()

    assert len(world.accepted) == 3


async def test_results_wait_for_others_to_share_a_commit_until_there_are_enough(tmp_path: Path) -> None:
    world = World(tmp_path, Scripted("thing", *[4] * 12, for_ever=True), commit_within_s=3600.0)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(world.engine.run)
            while len(world.accepted) < 20:
                await anyio.sleep(0.001)
            before_the_stop = list(world.commits)
            world.engine.stop()

    assert min(before_the_stop) >= 4
    assert len(world.accepted) == 23, "a stop waits for nobody"


async def test_a_pulse_does_not_wait_for_a_group_to_be_full(tmp_path: Path) -> None:
    world = World(tmp_path, Scripted("thing", 4, for_ever=True), commit_within_s=3600.0)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(world.engine.run)
            while not world.engine.counters.all().get("readings", 0):
                await anyio.sleep(0.001)
            await world.engine.pulse()
            assert len(world.accepted) == 1
            world.engine.stop()


async def test_a_stop_before_the_start_measures_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, Scripted("thing", 4, for_ever=True))
    world.engine.stop()

    with anyio.fail_after(60):
        await world.engine.run()

    assert world.accepted == []


async def test_a_full_medium_is_counted_and_told_and_the_station_goes_on(tmp_path: Path) -> None:
    outbox = RefusingOutbox(clock=SystemClock())
    world = World(tmp_path, Scripted("thing", 4, for_ever=True), outbox=outbox)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(world.engine.run)
            while "outbox.refused" not in world.noticed:
                await anyio.sleep(0.001)
            world.engine.stop()

    assert world.engine.counters.all()["results.refused"] == 1


class HangingOutbox(MemoryOutbox):
    """An outbox whose medium does not answer until it is released."""

    def __init__(self) -> None:
        super().__init__(clock=SystemClock())
        self.released = threading.Event()

    def put(self, results: Sequence[FusedResult]) -> Sequence[OutboxRow]:
        self.released.wait(20)
        return super().put(results)


async def test_a_pulse_comes_through_when_all_work(tmp_path: Path) -> None:
    world = World(tmp_path, Scripted("thing", 4, 4, for_ever=True))

    async with anyio.create_task_group() as group:
        group.start_soon(world.engine.run)
        with anyio.fail_after(60):
            while not world.accepted:
                await world.engine.pulse()
        world.engine.stop()


async def test_a_pulse_stays_away_while_the_commit_hangs(tmp_path: Path) -> None:
    outbox = HangingOutbox()
    world = World(tmp_path, Scripted("thing", 4, 4, for_ever=True), outbox=outbox)

    async with anyio.create_task_group() as group:
        group.start_soon(world.engine.run)
        await anyio.lowlevel.checkpoint()
        with anyio.move_on_after(0.3) as hanging:
            while True:
                await world.engine.pulse()
        outbox.released.set()
        with anyio.fail_after(60):
            await world.engine.pulse()
        world.engine.stop()

    assert hanging.cancelled_caught
    assert world.accepted


async def test_a_pulse_of_an_engine_that_is_over_returns_at_once(tmp_path: Path) -> None:
    world = World(tmp_path, Scripted("thing", 4))

    await world.engine.run()

    with anyio.fail_after(60):
        await world.engine.pulse()
