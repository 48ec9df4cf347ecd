"""The works: what one configuration makes of a station. A reload builds new ones beside the old, then changes over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import anyio

from edge_sdk.base.clock import Clock
from edge_sdk.contract.envelope import OutboxRow
from edge_sdk.contract.reading import Reading
from edge_sdk.outbox.base import Outbox
from edge_sdk.runtime.counters import Counters
from edge_sdk.runtime.engine import Engine
from edge_sdk.runtime.latency import Latency
from edge_sdk.station.assembly import Assembly
from edge_sdk.station.planning import schedule
from edge_sdk.station.vitals import Gauges

if TYPE_CHECKING:
    from edge_sdk.station.governing import Governing

_DELEGATES_EVERY_S = 0.5


class Works:
    """Sensors, models, streams and the engine that runs them.

    Attributes:
        assembly: What they were built by.
        streams: The streams with their schedulers.
        engine: Runs them.
    """

    def __init__(
        self,
        assembly: Assembly,
        *,
        outbox: Outbox,
        gauges: Gauges,
        clock: Clock,
        accepted: Callable[[Sequence[OutboxRow]], None],
        noticed: Callable[[str, str, dict[str, Any]], None],
        turned: Callable[[], None],
        tap: Callable[[Reading], None] | None = None,
    ) -> None:
        """Open everything that this configuration needs; what was opened is closed again when something cannot be.

        Args:
            assembly: What builds the parts.
            outbox: Where results are committed.
            gauges: How the board does.
            clock: Where time comes from.
            accepted: Told of every committed batch, on the event loop.
            noticed: Told of events (dotted name, message, detail), on the event loop.
            turned: Told when a model changes between its delegate and the CPU, on the event loop.
            tap: Told of every reading, on the event loop.

        Raises:
            ConfigError: The configuration says what cannot be.
            BundleError: A bundle must not be used.
            BackendError: A model cannot be run here.
        """
        self.assembly, self._noticed, self._turned = assembly, noticed, turned
        with ExitStack() as opening:
            sensors = assembly.sensors()
            pipelines = assembly.pipelines()
            for pipeline in pipelines:
                opening.callback(pipeline.close)
            assembly.check_wiring(sensors, pipelines)
            self.streams = schedule(assembly, pipelines, clock=clock)
            for stream in self.streams:
                opening.callback(stream.close)
            grouping = assembly.config.outbox
            self.engine = Engine(
                sensors=sensors,
                streams=self.streams,
                outbox=outbox,
                clock=clock,
                accepted=accepted,
                noticed=noticed,
                commit_within_s=grouping.commit_within_ms / 1000.0,
                commit_results=grouping.commit_results,
            )
            self.engine.tap = tap
            self.governing: Governing | None = None
            if assembly.config.governor is not None:
                from edge_sdk.station.governing import Governing

                self.governing = Governing(
                    assembly.config.governor, assembly, self.streams, gauges=gauges, clock=clock, noticed=noticed
                )
            self._opened = opening.pop_all()

    @property
    def flags(self) -> tuple[str, ...]:
        """What health says: models on the CPU that should be elsewhere, and less work than there is."""
        fallen = tuple(f"fallback.{name}" for name, why in self.fallbacks().items() if why)
        return fallen + (self.governing.flags if self.governing is not None else ())

    @property
    def latencies(self) -> dict[tuple[str, str], Latency]:
        """How long calls of each model took, by stream and model."""
        return {
            (stream.pipeline.stream, model): latency
            for stream in self.streams
            for model, latency in stream.latencies.items()
        }

    def counters(self) -> dict[str, int]:
        """Everything counted since they were built."""
        streams = (
            {f"{stream.pipeline.stream}.{name}": count for name, count in counted.items()}
            for stream in self.streams
            for counted in (stream.pipeline.counters, stream.counters.all())
        )
        return Counters().all(self.engine.counters.all(), self.engine.sensor_counters, *streams)

    def fallbacks(self) -> dict[str, str]:
        """Why a model does not run where it was asked to, by name; empty where it does."""
        return {model.name: model.fallback for stream in self.streams for model in stream.pipeline.models}

    async def run(self) -> None:
        """Work until every sensor has ended, or until `stop`; what was measured by then is predicted and committed."""
        async with anyio.create_task_group() as group:
            if self.governing is not None:
                group.start_soon(self.governing.run, name=self.governing.name)
            group.start_soon(self._watch_delegates, name="delegates")
            await self.engine.run()
            group.cancel_scope.cancel()

    def stop(self) -> None:
        """Measure no more; `run` returns when what was measured is committed."""
        self.engine.stop()

    def close(self) -> None:
        """Let go of models and threads."""
        self._opened.close()

    async def _watch_delegates(self) -> None:
        """Say it when a model changes between its delegate and the CPU."""
        known = self.fallbacks()
        while True:
            await anyio.sleep(_DELEGATES_EVERY_S)
            now = self.fallbacks()
            for name, why in now.items():
                if bool(why) != bool(known.get(name)):
                    says = f"runs on the CPU: {why}" if why else "runs on its delegate again."
                    event = "delegate.lost" if why else "delegate.returned"
                    self._noticed(event, f"Model {name} {says}", {"model": name})
            if now != known:
                self._turned()
            known = now
