"""The station: engine, outbox and bridge under one task group, from birth to an orderly death."""

from __future__ import annotations

import logging
import math
import signal
from collections.abc import Sequence
from typing import Any

import anyio
import anyio.abc

from edge_sdk.base.clock import Clock, ClockState, to_datetime
from edge_sdk.contract.encoding import Encoding
from edge_sdk.contract.envelope import OutboxRow
from edge_sdk.contract.events import Birth, Health, Severity, StationEvent
from edge_sdk.contract.topics import Topics
from edge_sdk.mqtt.bridge import Bridge
from edge_sdk.mqtt.connect import make_transport
from edge_sdk.mqtt.transport import Message, Transport
from edge_sdk.runtime.engine import Engine
from edge_sdk.station.assembly import Assembly, broker_addresses
from edge_sdk.station.governing import Governing
from edge_sdk.station.health import rss_bytes, temperature_c
from edge_sdk.station.planning import schedule
from edge_sdk.station.vitals import Gauges

log = logging.getLogger(__name__)

_DELEGATES_EVERY_S = 0.5
_DRAIN_POLL_S = 0.05


class Station:
    """One station, assembled and ready to run.

    Attributes:
        engine: Sensors, pipelines and commits.
        bridge: From the outbox to the broker.
        outbox: Accepted results.
        final_counters: Everything counted, once `run` has returned.
    """

    def __init__(self, assembly: Assembly, *, clock: Clock) -> None:
        """Open everything that a station needs before it can be born.

        Raises:
            ConfigError: The configuration says what cannot be.
            BundleError: A bundle must not be used.
            BackendError: A model cannot be run here.
            OutboxError: The outbox cannot be opened.
        """
        config = assembly.config
        self._assembly, self._config, self._clock = assembly, config, clock
        self._started_ns = clock.wall_ns()
        self.final_counters: dict[str, int] = {}
        self._addresses = broker_addresses(config.broker)
        self.pipelines = assembly.pipelines()
        self.streams = schedule(assembly, self.pipelines, clock=clock)
        sensors = assembly.sensors()
        self.outbox = assembly.outbox()
        self.bridge = Bridge(
            connect=self._connect,
            topics=Topics(config.site, config.station),
            outbox=self.outbox,
            birth=self._birth,
            clock=clock,
            delivery=config.broker.delivery,
            home_assistant=config.broker.home_assistant,
            backlog_results_per_s=config.broker.backlog_results_per_s,
            bytes_per_s=config.broker.limit_bytes_per_s or math.inf,
            compressed=config.broker.compress_packs,
            encoding=Encoding(config.broker.encoding),
        )
        self.engine = Engine(
            sensors=sensors,
            streams=self.streams,
            outbox=self.outbox,
            clock=clock,
            accepted=self._accepted,
            noticed=self._noticed,
        )
        self.governing: Governing | None = None
        if config.governor is not None:
            self.governing = Governing(
                config.governor,
                assembly,
                self.streams,
                gauges=Gauges(config.state_directory),
                clock=clock,
                noticed=self._noticed,
            )

    async def run(self, *, drain_s: float = 5.0) -> None:
        """Run until every sensor has ended and the outbox is empty, or until SIGTERM or SIGINT.

        Args:
            drain_s: After a signal, how long the outbox may still drain; what is left stays on disk.
        """
        log.info("station starts", extra={"station": self._config.station, "epoch": self.outbox.epoch})
        self._tell_salvage()
        try:
            async with self.bridge, anyio.create_task_group() as group:
                group.start_soon(self.bridge.run, name=self.bridge.name)
                group.start_soon(self._report, name="health")
                if self.governing is not None:
                    group.start_soon(self.governing.run, name=self.governing.name)
                group.start_soon(self._watch_delegates, name="delegates")
                stopped = anyio.Event()
                await group.start(self._stop_on_signal, stopped, name="signals")
                await self.engine.run()
                await self._drain(stopped, drain_s)
                self.bridge.announce(self.health())  # the last word says what is left behind
                group.cancel_scope.cancel()
        finally:
            left = self.outbox.stats().rows
            self.final_counters = self.counters()
            self.outbox.close()
            for stream in self.streams:
                stream.close()
                for model in stream.pipeline.models:
                    model.close()
            log.info("station stops", extra={"station": self._config.station, "outbox_rows": left})

    def health(self) -> Health:
        """Numbers of this moment."""
        stats = self.outbox.stats()
        unsynced = ("clock_unsynced",) if self._clock.state() is ClockState.UNSYNCED else ()
        fallen = tuple(f"fallback.{name}" for name, why in self._fallbacks().items() if why)
        flags = unsynced + fallen + (self.governing.flags if self.governing is not None else ())
        return Health(
            station=self._config.station,
            t=to_datetime(self._clock.wall_ns()),
            outbox_rows=stats.rows,
            outbox_bytes=stats.file_bytes,
            epoch=self.outbox.epoch,
            oldest=stats.oldest,
            counters=self.counters(),
            sensors={name: state.value for name, state in self.engine.sensors.items()},
            temperature_c=temperature_c(),
            rss_bytes=rss_bytes(),
            flags=flags,
        )

    def counters(self) -> dict[str, int]:
        """Everything counted since the start."""
        streams = (
            {f"{one.pipeline.stream}.{name}": count for name, count in one.counters.all(one.pipeline.counters).items()}
            for one in self.streams
        )
        dropped = {"outbox.dropped": self.outbox.stats().dropped}
        return self.engine.counters.all(self.engine.sensor_counters, *streams, self.bridge.counters, dropped)

    async def _stop_on_signal(
        self, stopped: anyio.Event, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            task_status.started()
            async for number in signals:
                log.info("station is told to stop", extra={"signal": number.name})
                stopped.set()
                self.engine.stop()

    async def _drain(self, stopped: anyio.Event, drain_s: float) -> None:
        """Wait until the outbox is empty; after a signal no longer than `drain_s`."""
        begun_ns: int | None = None
        while self.outbox.stats().rows:
            if stopped.is_set():
                begun_ns = begun_ns or self._clock.monotonic_ns()
                if self._clock.monotonic_ns() - begun_ns > drain_s * 1e9:
                    return
            await anyio.sleep(_DRAIN_POLL_S)

    async def _report(self) -> None:
        while True:
            self.bridge.announce(self.health())
            await anyio.sleep(self._config.health_every_s)

    async def _watch_delegates(self) -> None:
        """Say it when a model changes between its delegate and the CPU: an event, and a new birth."""
        known = self._fallbacks()
        while True:
            await anyio.sleep(_DELEGATES_EVERY_S)
            now = self._fallbacks()
            for name, why in now.items():
                if bool(why) != bool(known.get(name)):
                    says = f"runs on the CPU: {why}" if why else "runs on its delegate again."
                    self._noticed(
                        "delegate.lost" if why else "delegate.returned", f"Model {name} {says}", {"model": name}
                    )
            if now != known:
                self.bridge.announce(self._birth())
            known = now

    def _fallbacks(self) -> dict[str, str]:
        return {model.name: model.fallback for pipeline in self.pipelines for model in pipeline.models}

    def _tell_salvage(self) -> None:
        """The outbox file was damaged when it was opened: say what was saved and what was not."""
        saved = self.outbox.salvaged
        if saved is None:
            return
        self._noticed(
            "outbox.salvaged",
            f"The outbox was damaged: {len(saved.rows)} results were saved, at least {saved.damaged} were not. "
            "Is the card failing?",
            {"saved": len(saved.rows), "damaged": saved.damaged},
        )
        self.outbox.salvaged = None  # it holds every row that was saved

    def _accepted(self, rows: Sequence[OutboxRow]) -> None:
        self.bridge.offer(rows)

    def _noticed(self, name: str, message: str, detail: dict[str, Any]) -> None:
        lost = name.endswith((".lost", ".stale", ".off_rate", ".refused", ".salvaged"))
        self.bridge.announce(
            StationEvent(
                station=self._config.station,
                t=to_datetime(self._clock.wall_ns()),
                name=name,
                severity=Severity.WARNING if lost else Severity.INFO,
                message=message,
                detail=detail,
            )
        )

    def _birth(self) -> Birth:
        return self._assembly.birth(
            self.pipelines,
            epoch=self.outbox.epoch,
            oldest=self.outbox.stats().oldest,
            started_ns=self._started_ns,
        )

    def _connect(self, will: Message) -> Transport:
        return make_transport(
            self._addresses,
            client_id=f"{self._config.site}-{self._config.station}-{self.outbox.epoch}",
            will=will,
            aliases=self._config.broker.limit_bytes_per_s is not None,
        )
