"""The station: works, outbox and bridge under one task group, from birth to an orderly death."""

from __future__ import annotations

import logging
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import anyio
import anyio.abc
import anyio.to_thread

from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import ConfigError, EdgeError
from edge_sdk.base.logs import Tail
from edge_sdk.contract.envelope import OutboxRow
from edge_sdk.contract.events import Birth, Health
from edge_sdk.station.assembly import Assembly
from edge_sdk.station.crash import BlackBox
from edge_sdk.station.health import health_of
from edge_sdk.station.herald import Herald, status_line
from edge_sdk.station.link import make_bridge
from edge_sdk.station.notify import Notifier
from edge_sdk.station.status.facts import Facts
from edge_sdk.station.status.server import StatusServer
from edge_sdk.station.vitals import Gauges
from edge_sdk.station.watchdog import Watchdog
from edge_sdk.station.works import Works

log = logging.getLogger(__name__)

_DRAIN_POLL_S = 0.05
_GOODBYE_S = 10.0
_HEALTHY_AFTER_S = 30.0
_FIXED = ("site", "station", "state_directory", "outbox")


class Station:
    """One station, assembled and ready to run.

    Attributes:
        works: Sensors, streams and the engine, as the present configuration makes them.
        bridge: From the outbox to the broker.
        outbox: Accepted results.
        final_counters: Everything counted, once `run` has returned.
    """

    def __init__(
        self,
        assembly: Assembly,
        *,
        clock: Clock,
        notifier: Notifier | None = None,
        tail: Tail | None = None,
        reread: Callable[[], Assembly] | None = None,
    ) -> None:
        """Open everything that a station needs before it can be born.

        Args:
            assembly: What the configuration says.
            clock: Where time comes from.
            notifier: The service manager; None = there is none.
            tail: The last lines of the log, for a crash report.
            reread: Reads the configuration again, for a reload; None = it cannot be reloaded.

        Raises:
            ConfigError: The configuration says what cannot be.
            BundleError: A bundle must not be used.
            BackendError: A model cannot be run here.
            OutboxError: The outbox cannot be opened.
        """
        self._assembly, self._clock, self._reread = assembly, clock, reread
        self._notifier, self._tail = notifier or Notifier(), tail or Tail()
        self._started_ns = clock.wall_ns()
        self.final_counters: dict[str, int] = {}
        self._counted_before: Counter[str] = Counter()  # by works and bridges that are no more
        self._following: Works | None = None
        self._is_reloading = self._is_ending = False
        self._bridge_scope: anyio.CancelScope | None = None
        self._former_broker: Assembly | None = None
        self._stopped = anyio.Event()
        self._is_hurried = False
        config = assembly.config
        self._herald = Herald(config.station, clock=clock, announce=lambda event: self.bridge.announce(event))
        self._gauges = Gauges(config.state_directory)
        with ExitStack() as opening:
            self.outbox = assembly.outbox()
            opening.callback(self.outbox.close)
            self._box = BlackBox(config.state_directory, clock=clock)
            self._last_ending = self._box.open()
            opening.callback(self._box.close, "refused")
            self.works = self._make_works(assembly)
            opening.callback(self.works.close)
            self.bridge = make_bridge(config, outbox=self.outbox, birth=self._birth, clock=clock)
            opening.pop_all()
        self._watchdog = Watchdog(self._pulse, self._notifier, clock=clock)

    async def run(self, *, drain_s: float = 5.0) -> None:
        """Run until every sensor has ended and the outbox is empty, or until SIGTERM or SIGINT. SIGHUP reloads.

        Args:
            drain_s: After a signal, how long the outbox may still drain; what is left stays on disk.
        """
        name = self._assembly.config.station
        log.info("station starts", extra={"station": name, "epoch": self.outbox.epoch})
        self._herald.tell_salvage(self.outbox)
        self._herald.tell_ending(self._last_ending)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._keep_bridge, name="bridge")
                await self._serve_status(group)
                await group.start(self._obey_signals, group, drain_s, name="signals")
                group.start_soon(self._report, name="health")
                group.start_soon(self._watchdog.run, name=self._watchdog.name)
                group.start_soon(self._settle, name="settle")
                self._notifier.ready()
                await self._work()
                self._is_ending = True
                await self._drain(drain_s)
                self.bridge.announce(self.health())  # the last word says what is left behind
                group.cancel_scope.cancel()
        except Exception as error:
            path = self._box.record(error, counters=self.counters(), lines=self._tail.lines)
            log.error("station fails", extra={"report": path})
            raise
        finally:
            left = self.outbox.stats().rows
            self.final_counters = self.counters()
            self.works.close()
            self.outbox.close()
            self._box.close()
            log.info("station stops", extra={"station": name, "outbox_rows": left})

    async def reload(self) -> None:
        """Read the configuration again and change over to it; when it is refused, the present one goes on."""
        if self._is_reloading or self._is_ending or self._reread is None:
            return
        self._is_reloading = True
        self._notifier.reloading()
        try:
            assembly, works = await anyio.to_thread.run_sync(self._prepare, self._reread)
        except EdgeError as error:
            log.error("configuration is refused", extra={"reason": str(error)})
            self._herald.noticed("config.refused", f"The new configuration is refused, the old one goes on: {error}")
        else:
            await self._change_over(assembly, works)
        finally:
            self._is_reloading = False
            self._notifier.ready()

    def health(self) -> Health:
        """Numbers of this moment."""
        return health_of(
            self._assembly.config.station,
            works=self.works,
            outbox=self.outbox,
            vitals=self._gauges.read(),
            counters=self.counters(),
            clock=self._clock,
        )

    def facts(self) -> Facts:
        """Everything that the status endpoint tells."""
        return Facts(
            birth=self._birth(),
            health=self.health(),
            vitals=self._gauges.read(),
            outbox=self.outbox.stats(),
            link=self.bridge.state.value,
            latencies=self.works.latencies,
            proven_age_s=self._watchdog.age_s,
            proven_limit_s=self._watchdog.limit_s,
        )

    def counters(self) -> dict[str, int]:
        """Everything counted since the start."""
        total = Counter(self._counted_before)
        for counted in (self.works.counters(), self.bridge.counters, {"outbox.dropped": self.outbox.stats().dropped}):
            total.update(counted)
        return dict(sorted(total.items()))

    # ---- work, and the change from one configuration to another

    async def _work(self) -> None:
        """Run the works until they end; then those that a reload has put into `_following`."""
        while True:
            await self.works.run()
            following, self._following = self._following, None
            if following is None:
                return
            self._counted_before.update(self.works.counters())
            retired, self.works = self.works, following
            await anyio.to_thread.run_sync(retired.close)
            self.bridge.announce(self._birth())
            if self._stopped.is_set():
                return

    def _make_works(self, assembly: Assembly) -> Works:
        return Works(
            assembly,
            outbox=self.outbox,
            gauges=self._gauges,
            clock=self._clock,
            accepted=self._accepted,
            noticed=self._herald.noticed,
            turned=lambda: self.bridge.announce(self._birth()),
        )

    def _prepare(self, reread: Callable[[], Assembly]) -> tuple[Assembly, Works]:
        """In a worker thread: everything that the new configuration needs, opened beside the old."""
        assembly = reread()
        changed = [name for name in _FIXED if getattr(assembly.config, name) != getattr(self._assembly.config, name)]
        if changed:
            raise ConfigError(
                f"{assembly.path}: {', '.join(changed)} cannot change while the station runs. "
                "Restart it: systemctl restart edge-station"
            )
        return assembly, self._make_works(assembly)

    async def _change_over(self, assembly: Assembly, works: Works) -> None:
        superseded, self._following = self._following, works
        if self._is_ending:
            superseded, self._following = works, None
        if superseded is not None:
            await anyio.to_thread.run_sync(superseded.close)
        former, self._assembly = self._assembly, assembly
        self.works.stop()
        if assembly.config.broker != former.config.broker:
            self._former_broker = former
            self._connect_to(assembly)
        log.info("configuration is loaded")
        self._herald.noticed("config.loaded", "A new configuration is in use.")

    def _connect_to(self, assembly: Assembly) -> None:
        self._counted_before.update(self.bridge.counters)
        self.bridge = make_bridge(assembly.config, outbox=self.outbox, birth=self._birth, clock=self._clock)
        if self._bridge_scope is not None:
            self._bridge_scope.cancel()

    async def _keep_bridge(self) -> None:
        """Run the bridge; after a reload that changed the broker, the one to that, or the former if it cannot be."""
        while True:
            with anyio.CancelScope() as self._bridge_scope:
                try:
                    await self.bridge.run()
                except ConfigError as error:
                    former, self._former_broker = self._former_broker, None
                    if former is None:
                        raise
                    self._connect_to(former)
                    self._herald.noticed("config.refused", f"The former broker stays in use: {error}")

    # ---- beside the work

    async def _obey_signals(
        self,
        group: anyio.abc.TaskGroup,
        drain_s: float,
        *,
        task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            task_status.started()
            async for number in signals:
                if number == signal.SIGHUP:
                    group.start_soon(self.reload, name="reload")
                    continue
                log.info("station is told to stop", extra={"signal": number.name})
                self._is_hurried = self._stopped.is_set()
                self._stopped.set()
                self._notifier.stopping(drain_s + _GOODBYE_S)
                self.works.stop()

    async def _drain(self, drain_s: float) -> None:
        """Wait until the outbox is empty; after a signal no longer than `drain_s`, after a second one not at all."""
        begun_ns: int | None = None
        while self.outbox.stats().rows and not self._is_hurried:
            if self._stopped.is_set():
                begun_ns = begun_ns or self._clock.monotonic_ns()
                if self._clock.monotonic_ns() - begun_ns > drain_s * 1e9:
                    return
            await anyio.sleep(_DRAIN_POLL_S)

    async def _report(self) -> None:
        while True:
            health = self.health()
            self.bridge.announce(health)
            self._notifier.status(status_line(health, self.bridge.state.value))
            await anyio.sleep(self._assembly.config.health_every_s)

    async def _serve_status(self, group: anyio.abc.TaskGroup) -> None:
        """Start the status endpoint; a port that is taken is told, and the station goes on without it."""
        settings = self._assembly.config.status
        if settings is None:
            return
        try:
            await group.start(StatusServer(self.facts, port=settings.port).run, name=StatusServer.name)
        except ConfigError as error:
            log.warning("status endpoint is not there", extra={"reason": str(error)})
            self._herald.noticed("status.refused", str(error))

    async def _settle(self) -> None:
        """After a while of proven work this start was a good one."""
        await anyio.sleep(_HEALTHY_AFTER_S)
        await self._pulse()
        await anyio.to_thread.run_sync(self._box.healthy)

    async def _pulse(self) -> None:
        await self.works.engine.pulse()

    def _accepted(self, rows: Sequence[OutboxRow]) -> None:
        self.bridge.offer(rows)

    def _birth(self) -> Birth:
        return self.works.assembly.birth(
            [stream.pipeline for stream in self.works.streams],
            epoch=self.outbox.epoch,
            oldest=self.outbox.stats().oldest,
            started_ns=self._started_ns,
        )
