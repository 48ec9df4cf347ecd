"""The engine: the async shell around sensors, pipelines and the outbox."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import anyio.to_thread

from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import OutboxError
from edge_sdk.contract.envelope import OutboxRow
from edge_sdk.contract.reading import Reading
from edge_sdk.contract.result import FusedResult
from edge_sdk.outbox.base import Outbox
from edge_sdk.runtime.counters import Counters
from edge_sdk.runtime.scheduler import Scheduler
from edge_sdk.sensors.base import Sensor
from edge_sdk.sensors.keeper import Keeper
from edge_sdk.sensors.watch import SensorState

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

log = logging.getLogger(__name__)

_BLOCKS_AT_ONCE = 256
_BLOCKS_WAITING = 256
_RESULTS_WAITING = 4096


class _Pulse:
    """Goes the way of the data, through every stream to the commit, and tells when it has arrived."""

    def __init__(self, streams: int) -> None:
        self._under_way = streams
        self.arrived = anyio.Event()

    def arrive(self) -> None:
        self._under_way -= 1
        if not self._under_way:
            self.arrived.set()


class Engine:
    """Runs sensors, pushes their readings through the streams, commits what comes out.

    Attributes:
        name: Name of its task.
        counters: What was counted here; sensors and pipelines count for themselves.
        tap: Told of every reading, on the event loop; None = nobody listens.
    """

    name = "engine"

    def __init__(
        self,
        *,
        sensors: Sequence[Sensor],
        streams: Sequence[Scheduler],
        outbox: Outbox,
        clock: Clock,
        accepted: Callable[[Sequence[OutboxRow]], None],
        noticed: Callable[[str, str, dict[str, Any]], None],
        commit_within_s: float = 0.0,
        commit_results: int = 100,
    ) -> None:
        """Put it together; nothing runs yet.

        Args:
            sensors: What measures; one that has no keeper yet gets one with ordinary settings.
            streams: What each reading is pushed through, if it is of a sensor that the stream reads.
            outbox: Where results are committed.
            clock: Where time comes from.
            accepted: Told of every committed batch, on the event loop.
            noticed: Told of events (dotted name, message, detail), on the event loop.
            commit_within_s: How long the first result of a group may wait for others; 0 = not at all. Each commit costs
                the medium about 7 kB beside what is in it.
            commit_results: So many are committed at once, without waiting for more.
        """
        self._commit_within_s, self._commit_results = commit_within_s, commit_results
        self._keepers = [one if isinstance(one, Keeper) else Keeper(one, clock=clock) for one in sensors]
        self.counters = Counters()
        self.tap: Callable[[Reading], None] | None = None
        self._streams, self._outbox = streams, outbox
        self._accepted, self._noticed = accepted, noticed
        self._sources: anyio.CancelScope | None = None
        self._is_stopping = False
        self._ways: list[MemoryObjectSendStream[Reading | _Pulse]] = []

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
        send_results, results = anyio.create_memory_object_stream[list[FusedResult] | _Pulse](_RESULTS_WAITING)
        async with anyio.create_task_group() as group:
            group.start_soon(self._commit, results, name="commit")
            readers: dict[str, list[MemoryObjectSendStream[Reading | _Pulse]]] = {}
            async with send_results:
                for stream in self._streams:
                    send, blocks = anyio.create_memory_object_stream[Reading | _Pulse](_BLOCKS_WAITING)
                    self._ways.append(send)
                    for sensor in stream.pipeline.sensors:
                        readers.setdefault(sensor, []).append(send)
                    name = f"predict {stream.pipeline.stream}"
                    group.start_soon(self._predict, stream, blocks, send_results.clone(), name=name)
            try:
                with anyio.CancelScope() as self._sources:
                    if self._is_stopping:
                        self._sources.cancel()
                    async with anyio.create_task_group() as sources:
                        for keeper in self._keepers:
                            wanted = readers.get(keeper.name, ())
                            sources.start_soon(self._measure, keeper, wanted, name=f"sensor {keeper.name}")
            finally:
                ways, self._ways = self._ways, []
                for send in ways:
                    send.close()

    async def pulse(self) -> None:
        """Return once every stream and the commit have done what came before: the proof that none of them hangs.

        Outside of `run`, and while that ends, it returns at once.
        """
        await anyio.lowlevel.checkpoint()
        ways = [send.clone() for send in self._ways]
        if not ways:
            return
        pulse = _Pulse(len(ways))
        for send in ways:
            async with send:
                await send.send(pulse)
        await pulse.arrived.wait()

    def stop(self) -> None:
        """Measure no more; `run` returns once what was measured is predicted and committed."""
        self._is_stopping = True
        if self._sources is not None:
            self._sources.cancel()

    async def _measure(self, keeper: Keeper, readers: Sequence[MemoryObjectSendStream[Reading | _Pulse]]) -> None:
        """Keep one sensor running."""

        async def emit(reading: Reading) -> None:
            if self.tap is not None:
                self.tap(reading)
            for blocks in readers:
                await blocks.send(reading)
            self.counters.count("readings")
            if not readers:
                self.counters.count("readings.not_used")

        await keeper.run(emit, lambda state, why: self._turn(keeper.name, state, why))

    async def _predict(
        self,
        stream: Scheduler,
        blocks: MemoryObjectReceiveStream[Reading | _Pulse],
        results: MemoryObjectSendStream[list[FusedResult] | _Pulse],
    ) -> None:
        """Push blocks through one stream, as many as there are in one visit to a worker thread."""
        async with blocks, results:
            async for block in blocks:
                waiting = [block]
                while len(waiting) < _BLOCKS_AT_ONCE:
                    try:
                        waiting.append(blocks.receive_nowait())
                    except (anyio.WouldBlock, anyio.EndOfStream):
                        break
                readings = [one for one in waiting if not isinstance(one, _Pulse)]
                if readings and (made := await anyio.to_thread.run_sync(stream.push, readings)):
                    await results.send(made)
                for one in waiting:
                    if isinstance(one, _Pulse):
                        await results.send(one)
            if made := await anyio.to_thread.run_sync(stream.flush):
                await results.send(made)

    async def _commit(self, results: MemoryObjectReceiveStream[list[FusedResult] | _Pulse]) -> None:
        """Commit results in groups: whatever came while the last group was being written, and a little later."""
        async with results:
            async for first in results:
                waiting = await self._group(first, results)
                if group := [result for one in waiting if not isinstance(one, _Pulse) for result in one]:
                    await self._put(group)
                for one in waiting:
                    if isinstance(one, _Pulse):
                        one.arrive()

    async def _group(
        self, first: list[FusedResult] | _Pulse, results: MemoryObjectReceiveStream[list[FusedResult] | _Pulse]
    ) -> list[list[FusedResult] | _Pulse]:
        """What is committed together with `first`. A pulse, the end and a stop wait for nothing."""
        waiting, ends_s = [first], anyio.current_time() + self._commit_within_s
        while True:
            try:
                waiting.append(results.receive_nowait())
            except anyio.EndOfStream:
                return waiting
            except anyio.WouldBlock:
                left_s = ends_s - anyio.current_time()
                count = sum(0 if isinstance(one, _Pulse) else len(one) for one in waiting)
                is_pressed = self._is_stopping or isinstance(waiting[-1], _Pulse) or count >= self._commit_results
                if is_pressed or left_s <= 0:
                    return waiting
                try:
                    with anyio.move_on_after(left_s):
                        waiting.append(await results.receive())
                except anyio.EndOfStream:
                    return waiting

    async def _put(self, group: list[FusedResult]) -> None:
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
