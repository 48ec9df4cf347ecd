"""The engine: the async shell around sensors, pipelines and the outbox."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from edge_sdk.base.backoff import Backoff
from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import OutboxError, SensorError
from edge_sdk.contract.envelope import OutboxRow
from edge_sdk.contract.reading import Reading
from edge_sdk.contract.result import FusedResult
from edge_sdk.outbox.base import Outbox
from edge_sdk.runtime.counters import Counters
from edge_sdk.runtime.pipeline import Pipeline
from edge_sdk.sensors.base import Sensor

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

log = logging.getLogger(__name__)

_BLOCKS_AT_ONCE = 64
_BLOCKS_WAITING = 256
_RESULTS_WAITING = 4096


class SensorState(str, Enum):
    """What a sensor is doing."""

    WAITING = "waiting"
    RUNNING = "running"
    LOST = "lost"
    ENDED = "ended"


class Engine:
    """Runs sensors, pushes their readings through the pipelines, commits what comes out.

    Attributes:
        name: Name of its task.
        sensors: State of each sensor, by name.
        counters: What was counted here; the pipelines count for themselves.
    """

    name = "engine"

    def __init__(
        self,
        *,
        sensors: Sequence[Sensor],
        pipelines: Sequence[Pipeline],
        outbox: Outbox,
        clock: Clock,
        accepted: Callable[[Sequence[OutboxRow]], None],
        noticed: Callable[[str, str, dict[str, Any]], None],
    ) -> None:
        """Put it together; nothing runs yet.

        Args:
            sensors: What measures.
            pipelines: What each reading is pushed through.
            outbox: Where results are committed.
            clock: Where time comes from.
            accepted: Told of every committed batch, on the event loop.
            noticed: Told of events (dotted name, message, detail), on the event loop.
        """
        self.sensors = {sensor.name: SensorState.WAITING for sensor in sensors}
        self.counters = Counters()
        self._sensors, self._pipelines, self._outbox, self._clock = sensors, pipelines, outbox, clock
        self._accepted, self._noticed = accepted, noticed
        self._sources: anyio.CancelScope | None = None
        self._is_stopping = False

    async def run(self) -> None:
        """Work until every sensor has ended, or until cancelled; what was predicted by then is committed."""
        send_block, blocks = anyio.create_memory_object_stream[Reading](_BLOCKS_WAITING)
        send_results, results = anyio.create_memory_object_stream[list[FusedResult]](_RESULTS_WAITING)
        async with anyio.create_task_group() as group:
            group.start_soon(self._predict, blocks, send_results, name="predict")
            group.start_soon(self._commit, results, name="commit")
            with anyio.CancelScope() as self._sources:
                if self._is_stopping:
                    self._sources.cancel()
                async with send_block, anyio.create_task_group() as sources:
                    for sensor in self._sensors:
                        sources.start_soon(self._measure, sensor, send_block.clone(), name=f"sensor {sensor.name}")

    def stop(self) -> None:
        """Measure no more; `run` returns once what was measured is predicted and committed."""
        self._is_stopping = True
        if self._sources is not None:
            self._sources.cancel()

    async def _measure(self, sensor: Sensor, blocks: MemoryObjectSendStream[Reading]) -> None:
        """Keep one sensor running; a lost one is a state and an event, never a crash."""
        backoff = Backoff(base_s=0.5, cap_s=30.0)

        async def emit(reading: Reading) -> None:
            if self.sensors[sensor.name] is not SensorState.RUNNING:
                self._turn(sensor.name, SensorState.RUNNING, "")
            self.counters.count("readings")
            await blocks.send(reading)

        async with blocks:
            while True:
                begun_ns = self._clock.monotonic_ns()
                try:
                    await sensor.run(emit)
                except Exception as error:
                    if not isinstance(error, SensorError):
                        log.exception("sensor plug-in failed", extra={"sensor": sensor.name})
                    self.counters.count(f"sensors.lost.{sensor.name}")
                    self._turn(sensor.name, SensorState.LOST, str(error))
                    backoff.worked_for((self._clock.monotonic_ns() - begun_ns) / 1e9)
                    await anyio.sleep(backoff.next_delay_s())
                else:
                    self._turn(sensor.name, SensorState.ENDED, "")
                    return

    async def _predict(
        self, blocks: MemoryObjectReceiveStream[Reading], results: MemoryObjectSendStream[list[FusedResult]]
    ) -> None:
        """Push blocks through the pipelines, as many as there are in one visit to a worker thread."""
        async with blocks, results:
            async for block in blocks:
                waiting = [block]
                while len(waiting) < _BLOCKS_AT_ONCE:
                    try:
                        waiting.append(blocks.receive_nowait())
                    except (anyio.WouldBlock, anyio.EndOfStream):
                        break
                if made := await anyio.to_thread.run_sync(self._push, waiting):
                    await results.send(made)
            if made := await anyio.to_thread.run_sync(self._flush):
                await results.send(made)

    def _push(self, blocks: Sequence[Reading]) -> list[FusedResult]:
        return [result for block in blocks for pipeline in self._pipelines for result in pipeline.push(block)]

    def _flush(self) -> list[FusedResult]:
        return [result for pipeline in self._pipelines for result in pipeline.flush()]

    async def _commit(self, results: MemoryObjectReceiveStream[list[FusedResult]]) -> None:
        """Commit results in groups: whatever came while the last group was being written."""
        async with results:
            async for group in results:
                while True:
                    try:
                        group += results.receive_nowait()
                    except (anyio.WouldBlock, anyio.EndOfStream):
                        break
                self.counters.count("results.made", len(group))
                try:
                    with anyio.CancelScope(shield=True):
                        rows = await anyio.to_thread.run_sync(self._outbox.put, group)
                except OutboxError as error:
                    self.counters.count("results.refused", len(group))
                    self._noticed("outbox.refused", str(error), {"results": len(group)})
                else:
                    self.counters.count("results.accepted", len(rows))
                    self._accepted(rows)

    def _turn(self, sensor: str, state: SensorState, why: str) -> None:
        self.sensors[sensor] = state
        log.info("sensor turns", extra={"sensor": sensor, "state": state.value, "why": why})
        self._noticed(f"sensor.{state.value}", f"Sensor {sensor} is {state.value}. {why}".strip(), {"sensor": sensor})
