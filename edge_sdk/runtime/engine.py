"""The engine: the async shell around sensors, pipelines and the outbox."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import OutboxError
from edge_sdk.contract.envelope import OutboxRow
from edge_sdk.contract.reading import Reading
from edge_sdk.contract.result import FusedResult
from edge_sdk.outbox.base import Outbox
from edge_sdk.runtime.counters import Counters
from edge_sdk.runtime.pipeline import Pipeline
from edge_sdk.sensors.base import Sensor
from edge_sdk.sensors.keeper import Keeper
from edge_sdk.sensors.watch import SensorState

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

log = logging.getLogger(__name__)

_BLOCKS_AT_ONCE = 64
_BLOCKS_WAITING = 256
_RESULTS_WAITING = 4096


class Engine:
    """Runs sensors, pushes their readings through the pipelines, commits what comes out.

    Attributes:
        name: Name of its task.
        counters: What was counted here; sensors and pipelines count for themselves.
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
            sensors: What measures; one that has no keeper yet gets one with ordinary settings.
            pipelines: What each reading is pushed through.
            outbox: Where results are committed.
            clock: Where time comes from.
            accepted: Told of every committed batch, on the event loop.
            noticed: Told of events (dotted name, message, detail), on the event loop.
        """
        self._keepers = [one if isinstance(one, Keeper) else Keeper(one, clock=clock) for one in sensors]
        self.counters = Counters()
        self._pipelines, self._outbox = pipelines, outbox
        self._accepted, self._noticed = accepted, noticed
        self._sources: anyio.CancelScope | None = None
        self._is_stopping = False

    @property
    def sensors(self) -> dict[str, SensorState]:
        """State of each sensor, by name."""
        return {keeper.name: keeper.state for keeper in self._keepers}

    @property
    def sensor_counters(self) -> dict[str, int]:
        """What the sensors lost or dropped: ``sensors.COUNTER.SENSOR``."""
        return {
            f"sensors.{name}.{keeper.name}": count
            for keeper in self._keepers
            for name, count in keeper.counters.items()
        }

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
                    for keeper in self._keepers:
                        sources.start_soon(self._measure, keeper, send_block.clone(), name=f"sensor {keeper.name}")

    def stop(self) -> None:
        """Measure no more; `run` returns once what was measured is predicted and committed."""
        self._is_stopping = True
        if self._sources is not None:
            self._sources.cancel()

    async def _measure(self, keeper: Keeper, blocks: MemoryObjectSendStream[Reading]) -> None:
        """Keep one sensor running."""

        async def emit(reading: Reading) -> None:
            self.counters.count("readings")
            await blocks.send(reading)

        async with blocks:
            await keeper.run(emit, lambda state, why: self._turn(keeper.name, state, why))

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
        self._noticed(f"sensor.{state.value}", f"Sensor {sensor} is {state.value}. {why}".strip(), {"sensor": sensor})
