"""The monitor about itself: health, totals, quarantine, numbers for Prometheus."""

from __future__ import annotations

import anyio.to_thread
import msgspec
from fastapi import FastAPI, Response
from fastapi.responses import PlainTextResponse

from edge_sdk import __version__
from edge_sdk.base.clock import Clock
from edge_sdk.monitor.alerts.book import AlertBook
from edge_sdk.monitor.ingest import IngestState
from edge_sdk.monitor.store.reader import StoreReader
from edge_sdk.monitor.store.views import Counters, QuarantineView
from edge_sdk.monitor.web import metrics
from edge_sdk.monitor.web.document import Rows, answers, json_of


class MonitorHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of ``/healthz``.

    Attributes:
        status: ``ok``, or ``degraded`` while the broker or the store is out of reach.
        broker: Whether the monitor is subscribed at the broker.
        error: Why not.
        version: Of this software.
    """

    status: str
    broker: bool
    error: str
    version: str


def add_monitor(app: FastAPI, reader: StoreReader, book: AlertBook, clock: Clock, state: IngestState) -> None:
    """Add these paths."""

    @app.get("/healthz", tags=["monitor"], responses=answers(MonitorHealth, also={503: "Degraded."}))
    async def healthz() -> Response:
        """Whether the monitor is well: 200, or 503 while the broker or the store is out of reach."""
        well = state.is_connected and not state.last_error
        answer = MonitorHealth(
            status="ok" if well else "degraded", broker=state.is_connected, error=state.last_error, version=__version__
        )
        return json_of(answer, status=200 if well else 503)

    @app.get("/api/quarantine", tags=["monitor"], responses=answers(list[QuarantineView]))
    async def quarantine(limit: Rows = 1000) -> Response:
        """What could not be read, by reason and topic."""
        return json_of(await anyio.to_thread.run_sync(lambda: reader.quarantine(limit=limit)))

    @app.get("/api/counters", tags=["monitor"], responses=answers(Counters))
    async def counters() -> Response:
        """Totals since the store was made."""
        return json_of(await anyio.to_thread.run_sync(reader.counters))

    def text() -> str:
        fleet = reader.fleet(now_ns=clock.wall_ns())
        return metrics.render(reader.counters(), fleet, book.firing(), state)

    @app.get("/metrics", tags=["monitor"], response_class=PlainTextResponse)
    async def prometheus() -> Response:
        """The monitor's numbers as Prometheus reads them."""
        return Response(await anyio.to_thread.run_sync(text), media_type=metrics.CONTENT_TYPE)
