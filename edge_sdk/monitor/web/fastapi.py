"""The REST API, the live feed and the page, on FastAPI."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from edge_sdk import __version__
from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import StoreError
from edge_sdk.monitor.accounts import Accounts
from edge_sdk.monitor.alerts.book import AlertBook
from edge_sdk.monitor.commands.desk import Desk
from edge_sdk.monitor.ingest import IngestState
from edge_sdk.monitor.store.reader import StoreReader
from edge_sdk.monitor.web.accounts_api import add_accounts
from edge_sdk.monitor.web.alerts_api import add_alerts
from edge_sdk.monitor.web.commands_api import add_commands
from edge_sdk.monitor.web.document import Problem, describe, json_of, only_known
from edge_sdk.monitor.web.fleet_api import add_fleet
from edge_sdk.monitor.web.live import add_live
from edge_sdk.monitor.web.monitor_api import add_monitor
from edge_sdk.monitor.web.results_api import add_results

STATIC = Path(__file__).parent / "static"
PAGES = ("/", "/login", "/station/{site}/{station}", "/streams", "/bundles", "/alerts", "/events", "/quarantine")


def make_app(
    reader: StoreReader,
    *,
    accounts: Accounts,
    book: AlertBook,
    desk: Desk,
    clock: Clock,
    state: IngestState,
    is_secure: bool = False,
    is_stopping: Callable[[], bool] = lambda: False,
) -> FastAPI:
    """Build the web application over an open reader; a `Guard` goes before it.

    Args:
        reader: The store.
        accounts: Who may log in.
        book: The alerts.
        desk: Where stations are commanded.
        clock: The time.
        state: How ingest is.
        is_secure: Whether it is served by TLS: then the session's cookie travels by TLS alone.
        is_stopping: Ends the live feeds.
    """
    app = FastAPI(
        title="Edge SDK monitor",
        version=__version__,
        description="Every result once, the fleet at a glance. Times are nanoseconds since the Unix epoch.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        dependencies=[Depends(only_known)],
    )

    @app.exception_handler(StoreError)
    async def out_of_order(request: Request, error: StoreError) -> Response:
        return json_of({"detail": str(error)}, status=503)

    @app.exception_handler(RequestValidationError)
    async def not_understood(request: Request, error: RequestValidationError) -> Response:
        said = (f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors())
        return json_of(Problem(detail=f"{'; '.join(said)}."), status=422)

    add_monitor(app, reader, book, clock, state)
    add_fleet(app, reader, clock)
    add_results(app, reader)
    add_alerts(app, book, clock)
    add_commands(app, desk, reader, clock)
    add_accounts(app, accounts, clock, is_secure=is_secure)
    add_live(app, reader, clock, state, is_stopping)
    _add_pages(app)
    describe(app)
    return app


def _add_pages(app: FastAPI) -> None:
    app.mount("/static", StaticFiles(directory=STATIC), name="static")

    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    for path in PAGES:
        app.add_api_route(path, page, include_in_schema=False)
