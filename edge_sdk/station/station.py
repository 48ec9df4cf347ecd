"""The station: works, outbox and bridge under one task group, from birth to an orderly death."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import pairwise
from typing import TYPE_CHECKING

import anyio
import anyio.abc
import anyio.to_thread

from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import ConfigError, EdgeError
from edge_sdk.base.logs import Tail
from edge_sdk.contract.command import Answer
from edge_sdk.contract.envelope import OutboxRow
from edge_sdk.contract.events import Birth, Health
from edge_sdk.contract.reading import Reading
from edge_sdk.mqtt.bridge import Bridge
from edge_sdk.station.assembly import Assembly
from edge_sdk.station.changeover import Changeover
from edge_sdk.station.crash import BlackBox
from edge_sdk.station.farewell import Farewell
from edge_sdk.station.health import health_of
from edge_sdk.station.herald import Herald, status_line
from edge_sdk.station.link import make_bridge
from edge_sdk.station.notify import Notifier
from edge_sdk.station.remote.applied import Applied
from edge_sdk.station.remote.office import Office
from edge_sdk.station.remote.slots import Change
from edge_sdk.station.vitals import Gauges
from edge_sdk.station.watchdog import Watchdog
from edge_sdk.station.works import Works

if TYPE_CHECKING:
    from edge_sdk.station.remote.canary import Canary
    from edge_sdk.station.remote.trial import Signs
    from edge_sdk.station.status.facts import Facts

log = logging.getLogger(__name__)

_STANDING = ("site", "station", "state_directory", "outbox", "status")
_HEALTHY_AFTER_S = 30.0
_COMMITS = 16  # as many tell how often results come


class Station:
    """One station, assembled and ready to run.

    Attributes:
        clock: Where time comes from.
        bridge: From the outbox to the broker.
        outbox: Accepted results.
        final_counters: Everything counted, once `run` has returned.
    """

    def __init__(
        self,
        applied: Applied,
        change: Change | None,
        *,
        clock: Clock,
        notifier: Notifier | None = None,
        tail: Tail | None = None,
    ) -> None:
        """Open everything that a station needs before it can be born.

        Args:
            applied: Where its configuration comes from, again and again.
            change: What was changed from afar, and is to be in use.
            clock: Where time comes from.
            notifier: The service manager; None = there is none.
            tail: The last lines of the log, for a crash report.

        Raises:
            ConfigError: The configuration says what cannot be.
            BundleError: A bundle must not be used.
            BackendError: A model cannot be run here.
            OutboxError: The outbox cannot be opened.
        """
        self.clock, self._applied = clock, applied
        self._notifier, self._tail = notifier or Notifier(), tail or Tail()
        self._started_ns = clock.wall_ns()
        self.final_counters: dict[str, int] = {}
        self._counted_before: Counter[str] = Counter()  # by bridges that are no more
        self._reloading = anyio.Lock()
        self._bridge_scope: anyio.CancelScope | None = None
        self._former_broker: Assembly | None = None
        self._canary: Canary | None = None
        self._accepted_ns: deque[int] = deque(maxlen=_COMMITS)
        assembly = applied.assembly(change)
        config = assembly.config
        self._name = config.station
        self._herald = Herald(config.station, clock=clock, announce=lambda event: self.bridge.announce(event))
        self.notice = self._herald.noticed
        self._gauges = Gauges(config.state_directory)
        with ExitStack() as opening:
            self.outbox = assembly.outbox()
            opening.callback(self.outbox.close)
            self._box = BlackBox(config.state_directory, clock=clock)
            self._last_ending = self._box.open()
            opening.callback(self._box.close, "refused")
            self._changeover = Changeover(self._make_works(assembly), changed=self.announce_birth)
            opening.callback(self._changeover.close)
            self._office = Office(self, applied)
            self.bridge = self._make_bridge(assembly)
            opening.pop_all()
        self._watchdog = Watchdog(self.pulse, self._notifier, clock=clock)

    @property
    def works(self) -> Works:
        """Sensors, streams and the engine, as the present configuration makes them."""
        return self._changeover.works

    async def run(self, *, drain_s: float = 5.0) -> None:
        """Run until every sensor has ended and the outbox is empty, or until SIGTERM or SIGINT. SIGHUP reloads.

        Args:
            drain_s: After a signal, how long the outbox may still drain; what is left stays on disk.
        """
        log.info("station starts", extra={"station": self._name, "epoch": self.outbox.epoch})
        self._herald.tell_salvage(self.outbox)
        self._herald.tell_ending(self._last_ending)
        farewell = Farewell(
            stop=self._changeover.stop,
            reload=self.reload,
            notifier=self._notifier,
            clock=self.clock,
            drain_s=drain_s,
        )
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._keep_bridge, name="bridge")
                await self._serve_status(group)
                await group.start(farewell.run, name=farewell.name)
                group.start_soon(self._report, name="health")
                group.start_soon(self._watchdog.run, name=self._watchdog.name)
                group.start_soon(self._settle, name="settle")
                group.start_soon(self._office.run, name=self._office.name)
                self._notifier.ready()
                await self._changeover.run()
                await farewell.drain(self.outbox)
                self.bridge.announce(self.health())  # the last word says what is left behind
                group.cancel_scope.cancel()
        except Exception as error:
            path = self._box.record(error, counters=self.counters(), lines=self._tail.lines)
            log.error("station fails", extra={"report": path})
            raise
        finally:
            left = self.outbox.stats().rows
            self.final_counters = self.counters()
            self._changeover.close()
            self.outbox.close()
            self._box.close()
            log.info("station stops", extra={"station": self._name, "outbox_rows": left})

    async def reload(self) -> None:
        """Read the configuration again and change over to it; when it is refused, the present one goes on."""
        if self._reloading.locked() or self._changeover.is_over:
            return
        self._notifier.reloading()
        try:
            await self.load(self._applied.slots.following or self._applied.slots.present)
        except EdgeError as error:
            log.error("configuration is refused", extra={"reason": str(error)})
            self.notice("config.refused", f"The new configuration is refused, the old one goes on: {error}")
        else:
            self.notice("config.loaded", "A new configuration is in use.")
        finally:
            self._notifier.ready()

    async def load(self, change: Change | None) -> None:
        """Change over to the configuration with a change; return when it is in use.

        Raises:
            EdgeError: It cannot be; the present one goes on.
        """
        async with self._reloading:
            former = self.works.assembly
            works = await anyio.to_thread.run_sync(self._prepare, change)
            await self._changeover.to(works)
            if _spoken(works.assembly) != _spoken(former):
                self._former_broker = former
                self._connect_to(works.assembly)
            log.info("configuration is loaded")

    def signs(self) -> Signs:
        """How it does, for a trial."""
        from edge_sdk.station.remote.trial import Signs

        states = self.works.engine.sensors
        between = sorted(after - before for before, after in pairwise(self._accepted_ns))
        return Signs(
            running=frozenset(name for name, state in states.items() if state.value == "running"),
            sensors=frozenset(states),
            accepted=self.counters().get("results.accepted", 0),
            interval_s=between[len(between) // 2] / 1e9 if between else None,
            connected=self.bridge.connected,
        )

    async def with_canary(self, canary: Canary, seconds: float) -> None:
        """Let a canary hear what the sensors measure, and what the station makes of it."""
        self._canary = canary
        try:
            await canary.run(seconds)
        finally:
            self._canary = None

    async def pulse(self) -> None:
        """Return when every stream and the commit have done what came before."""
        await self.works.engine.pulse()

    def announce_birth(self) -> None:
        """Say anew who we are."""
        self.bridge.announce(self._birth())

    def answer(self, answer: Answer) -> None:
        """Answer a command."""
        self.bridge.announce(answer)

    def health(self) -> Health:
        """Numbers of this moment."""
        return health_of(
            self._name,
            works=self.works,
            outbox=self.outbox,
            vitals=self._gauges.read(),
            counters=self.counters(),
            clock=self.clock,
        )

    def facts(self) -> Facts:
        """Everything that the status endpoint tells."""
        from edge_sdk.station.status.facts import Facts

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
        total = self._counted_before + self._changeover.counters() + self.bridge.counters + self._office.counters
        total["outbox.dropped"] += self.outbox.stats().dropped
        return dict(sorted(total.items()))

    # ---- parts, and their replacement

    def _make_works(self, assembly: Assembly) -> Works:
        return Works(
            assembly,
            outbox=self.outbox,
            gauges=self._gauges,
            clock=self.clock,
            accepted=self._accepted,
            noticed=self.notice,
            turned=self.announce_birth,
            tap=self._measured,
        )

    def _make_bridge(self, assembly: Assembly) -> Bridge:
        commanded = self._office.take if assembly.config.remote.allow else None
        return make_bridge(
            assembly.config, outbox=self.outbox, birth=self._birth, clock=self.clock, commanded=commanded
        )

    def _prepare(self, change: Change | None) -> Works:
        """In a worker thread: everything that the configuration needs, opened beside what runs."""
        assembly = self._applied.assembly(change)
        present = self.works.assembly.config
        changed = [name for name in _STANDING if getattr(assembly.config, name) != getattr(present, name)]
        if changed:
            raise ConfigError(
                f"{assembly.path}: {', '.join(changed)} cannot change while the station runs. "
                "Restart it: systemctl restart edge-station"
            )
        return self._make_works(assembly)

    def _connect_to(self, assembly: Assembly) -> None:
        self._counted_before.update(self.bridge.counters)
        self.bridge = self._make_bridge(assembly)
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
                    self.notice("config.refused", f"The former broker stays in use: {error}")

    # ---- beside the work

    async def _report(self) -> None:
        while True:
            health = self.health()
            self.bridge.announce(health)
            self._notifier.status(status_line(health, self.bridge.state.value))
            await anyio.sleep(self.works.assembly.config.health_every_s)

    async def _serve_status(self, group: anyio.abc.TaskGroup) -> None:
        """Start the status endpoint; a port that is taken is told, and the station goes on without it."""
        settings = self.works.assembly.config.status
        if settings is None:
            return
        from edge_sdk.station.status.server import StatusServer  # a station without it does without it

        try:
            await group.start(StatusServer(self.facts, port=settings.port).run, name=StatusServer.name)
        except ConfigError as error:
            log.warning("status endpoint is not there", extra={"reason": str(error)})
            self.notice("status.refused", str(error))

    async def _settle(self) -> None:
        """After a while of proven work this start was a good one."""
        await anyio.sleep(_HEALTHY_AFTER_S)
        await self.pulse()
        await anyio.to_thread.run_sync(self._box.healthy)

    def _accepted(self, rows: Sequence[OutboxRow]) -> None:
        self.bridge.offer(rows)
        self._accepted_ns.append(self.clock.monotonic_ns())
        if self._canary is not None:
            self._canary.compare(rows)

    def _measured(self, reading: Reading) -> None:
        if self._canary is not None:
            self._canary.hear(reading)

    def _birth(self) -> Birth:
        return self.works.assembly.birth(
            [stream.pipeline for stream in self.works.streams],
            epoch=self.outbox.epoch,
            oldest=self.outbox.stats().oldest,
            started_ns=self._started_ns,
        )


def _spoken(assembly: Assembly) -> tuple[object, bool]:
    """What the bridge is made from."""
    return assembly.config.broker, bool(assembly.config.remote.allow)
