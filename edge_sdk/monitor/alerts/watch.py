"""The watch: judges the fleet every second and sends what is due; one task among the monitor's."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

import anyio
import anyio.to_thread

from edge_sdk.base.backoff import Backoff
from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import EdgeError, StoreError
from edge_sdk.monitor.alerts.book import AlertBook
from edge_sdk.monitor.alerts.sinks import Sink
from edge_sdk.monitor.alerts.survey import Survey
from edge_sdk.monitor.store.reader import StoreReader

log = logging.getLogger(__name__)


@dataclass(slots=True)
class AlertWatch:
    """Reads the store, keeps the book, tells the sinks.

    A notice is forgotten after it was sent; a crash between the two sends it again under the same id.

    Attributes:
        book: State and notices.
        sinks: By name.
        reader: The store.
        clock: The time.
        interval_s: How often the fleet is judged.
        survey: For rules that look further back; None = there are none.
        survey_s: How often it looks.
        failures: Notices that could not be sent at once, by sink.
    """

    book: AlertBook
    sinks: Mapping[str, Sink]
    reader: StoreReader
    clock: Clock
    interval_s: float = 1.0
    survey: Survey | None = None
    survey_s: float = 60.0
    failures: dict[str, int] = field(default_factory=dict)
    name: str = "alerts"

    async def run(self) -> None:
        """Judge and send until cancelled."""
        async with anyio.create_task_group() as group:
            for name, sink in self.sinks.items():
                group.start_soon(self._send, name, sink, name=f"alert sink {name}")
            if self.survey is not None and self.survey.is_needed:
                group.start_soon(self._look, self.survey, name="alert survey")
            while True:
                try:
                    changed = await anyio.to_thread.run_sync(self._judge)
                    if changed:
                        log.info("alerts changed", extra={"changed": changed})
                except StoreError as error:
                    log.error("alerts cannot be judged", extra={"reason": str(error)})
                await anyio.sleep(self.interval_s)

    def _judge(self) -> int:
        now_ns = self.clock.wall_ns()
        signs = dict(self.survey.signs) if self.survey else None
        return self.book.judge(self.reader.fleet(now_ns=now_ns).stations, now_ns=now_ns, signs=signs)

    async def _look(self, survey: Survey) -> None:
        """Survey for ever, in a thread, one station after the other."""

        def look() -> None:
            survey.look(self.reader.fleet(now_ns=self.clock.wall_ns()).stations)

        while True:
            try:
                await anyio.to_thread.run_sync(look, abandon_on_cancel=True)
            except StoreError as error:
                log.error("survey cannot look", extra={"reason": str(error)})
            await anyio.sleep(self.survey_s)

    async def _send(self, name: str, sink: Sink) -> None:
        """One sink's notices in order; what cannot be sent waits, and holds up no other sink."""
        backoff = Backoff(base_s=2.0, cap_s=300.0)
        while True:
            for number, notice in await anyio.to_thread.run_sync(self.book.unsent, name):
                try:
                    await anyio.to_thread.run_sync(sink.send, notice, abandon_on_cancel=True)
                except EdgeError as error:
                    self.failures[name] = self.failures.get(name, 0) + 1
                    log.warning("alert could not be sent", extra={"sink": name, "reason": str(error)})
                    await anyio.sleep(backoff.next_delay_s())
                    break
                backoff.worked_for(backoff.stable_s)
                await anyio.to_thread.run_sync(self.book.sent, number)
            await anyio.sleep(self.interval_s)
