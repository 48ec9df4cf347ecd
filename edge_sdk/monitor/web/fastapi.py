"""The REST API, the live feed and the page, on FastAPI."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import anyio
import anyio.to_thread
import msgspec
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse, PlainTextResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles

from edge_sdk import __version__
from edge_sdk.base.clock import Clock, from_datetime
from edge_sdk.base.errors import StoreError
from edge_sdk.monitor.accounts import ANYBODY, SESSION_NS, Account, Accounts
from edge_sdk.monitor.alerts.book import Alert, AlertBook
from edge_sdk.monitor.ingest import IngestState
from edge_sdk.monitor.store.reader import StoreReader
from edge_sdk.monitor.store.views import (
    BacklogPoint,
    Chart,
    Counters,
    EventView,
    Fleet,
    QuarantineView,
    StationDetail,
    StoredResult,
)
from edge_sdk.monitor.web import metrics
from edge_sdk.monitor.web.guard import COOKIE, Attempts, session_token

STATIC = Path(__file__).parent / "static"
MAX_ROWS = 10_000
_LIVE_INTERVAL_S = 0.15
_LIVE_LOOK_S = 0.04
_LIVE_KEEPALIVE_S = 15.0
_MAX_NS = (1 << 63) - 1
_T = TypeVar("_T")


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


class AlertKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which alert."""

    rule: str
    site: str
    station: str


class Silence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which alerts, as patterns, and for how long."""

    rule: str = "*"
    site: str = "*"
    station: str = "*"
    minutes: Annotated[float, msgspec.Meta(gt=0, le=60 * 24 * 30)] = 60.0


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of ``/api/me``.

    Attributes:
        name: Who you are; empty where there are no accounts.
        role: ``viewer``, ``operator`` or ``admin``.
        login: Whether there is somebody to log out.
    """

    name: str
    role: str
    login: bool


class Credentials(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ``/api/login`` takes."""

    name: str
    password: str


_REF = "#/components/schemas/{name}"
_TYPES = (
    AlertKey,
    Credentials,
    MonitorHealth,
    Me,
    Silence,
    list[Alert],
    list[BacklogPoint],
    Chart,
    Counters,
    list[EventView],
    Fleet,
    list[QuarantineView],
    StationDetail,
    list[StoredResult],
)


def make_app(
    reader: StoreReader,
    *,
    accounts: Accounts,
    book: AlertBook,
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
    )
    _errors(app)
    _api(app, reader, clock, state)
    _alerts(app, book, clock)
    _metrics(app, reader, book, clock, state)
    _login(app, accounts, clock, is_secure)
    _live(app, reader, clock, state, is_stopping)
    _pages(app)
    _describe(app)
    return app


def _errors(app: FastAPI) -> None:
    @app.exception_handler(StoreError)
    async def out_of_order(request: Request, error: StoreError) -> Response:
        return _json({"detail": str(error)}, status=503)


def _api(app: FastAPI, reader: StoreReader, clock: Clock, state: IngestState) -> None:
    @app.get("/healthz", tags=["monitor"], responses=_answers(MonitorHealth))
    async def healthz() -> Response:
        """Whether the monitor is well: 200, or 503 while the broker or the store is out of reach."""
        well = state.is_connected and not state.last_error
        answer = MonitorHealth(
            status="ok" if well else "degraded", broker=state.is_connected, error=state.last_error, version=__version__
        )
        return _json(answer, status=200 if well else 503)

    @app.get("/api/stations", tags=["fleet"], responses=_answers(Fleet))
    async def stations(since_rev: Annotated[int, Query(ge=-1, le=_MAX_NS)] = -1) -> Response:
        """Every station with its newest results, or those that changed after commit `since_rev`."""
        return _json(await anyio.to_thread.run_sync(lambda: reader.fleet(now_ns=clock.wall_ns(), since_rev=since_rev)))

    @app.get("/api/stations/{site}/{station}", tags=["fleet"], responses=_answers(StationDetail, missing=True))
    async def station(site: str, station: str) -> Response:
        """All that is known of one station."""
        found = await anyio.to_thread.run_sync(lambda: reader.station(site, station, now_ns=clock.wall_ns()))
        if found is None:
            raise HTTPException(404, f"No station {site}/{station} was ever heard.")
        return _json(found)

    @app.get("/api/results", tags=["results"], responses=_answers(list[StoredResult]))
    async def results(
        site: str | None = None,
        station: str | None = None,
        stream: str | None = None,
        since: Annotated[str | None, Query(description="Event time: ISO 8601 with zone, or nanoseconds")] = None,
        until: Annotated[str | None, Query(description="Event time: ISO 8601 with zone, or nanoseconds")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_ROWS)] = 100,
    ) -> Response:
        """The newest stored results, oldest of them first."""
        since_ns, until_ns = _time_ns("since", since), _time_ns("until", until)
        return _json(
            await anyio.to_thread.run_sync(
                lambda: list(
                    reader.results(
                        site=site, station=station, stream=stream, since_ns=since_ns, until_ns=until_ns, limit=limit
                    )
                )
            )
        )

    @app.get("/api/chart", tags=["results"], responses=_answers(Chart))
    async def chart(
        site: str,
        station: str,
        stream: str,
        start_ns: Annotated[int, Query(ge=0, le=_MAX_NS)],
        end_ns: Annotated[int, Query(ge=0, le=_MAX_NS)],
        points: Annotated[int, Query(ge=1, le=2000)] = 300,
        picks: Annotated[int, Query(ge=1, le=200)] = 60,
    ) -> Response:
        """One stream over time, down-sampled: labels, confidence or values, and some whole results."""
        if end_ns <= start_ns:
            raise HTTPException(422, f"end_ns is {end_ns}; wanted is more than start_ns, {start_ns}.")
        return _json(
            await anyio.to_thread.run_sync(
                lambda: reader.chart(
                    site, station, stream, start_ns=start_ns, end_ns=end_ns, points=points, picks=picks
                )
            )
        )

    @app.get("/api/backlog", tags=["fleet"], responses=_answers(list[BacklogPoint]))
    async def backlog(
        site: str,
        station: str,
        start_ns: Annotated[int, Query(ge=0, le=_MAX_NS)],
        end_ns: Annotated[int, Query(ge=0, le=_MAX_NS)],
        points: Annotated[int, Query(ge=1, le=2000)] = 300,
    ) -> Response:
        """A station's backlog over time, the worst of each stretch."""
        return _json(
            await anyio.to_thread.run_sync(
                lambda: reader.backlog(site, station, start_ns=start_ns, end_ns=end_ns, points=points)
            )
        )

    @app.get("/api/events", tags=["fleet"], responses=_answers(list[EventView]))
    async def events(
        site: str | None = None,
        station: str | None = None,
        limit: Annotated[int, Query(ge=1, le=MAX_ROWS)] = 100,
    ) -> Response:
        """What happened on stations, newest first."""
        return _json(await anyio.to_thread.run_sync(lambda: reader.events(site=site, station=station, limit=limit)))

    @app.get("/api/quarantine", tags=["monitor"], responses=_answers(list[QuarantineView]))
    async def quarantine(limit: Annotated[int, Query(ge=1, le=MAX_ROWS)] = 1000) -> Response:
        """What could not be read, by reason and topic."""
        return _json(await anyio.to_thread.run_sync(lambda: reader.quarantine(limit=limit)))

    @app.get("/api/counters", tags=["monitor"], responses=_answers(Counters))
    async def counters() -> Response:
        """Totals since the store was made."""
        return _json(await anyio.to_thread.run_sync(reader.counters))


def _alerts(app: FastAPI, book: AlertBook, clock: Clock) -> None:
    @app.get("/api/alerts", tags=["alerts"], responses=_answers(list[Alert]))
    async def alerts() -> Response:
        """What fires now, the newest first."""
        return _json(await anyio.to_thread.run_sync(book.firing))

    @app.post(
        "/api/alerts/acknowledge",
        tags=["alerts"],
        status_code=204,
        responses={404: {"description": "It does not fire."}},
        openapi_extra=_body_of(AlertKey),
    )
    async def acknowledge(request: Request) -> Response:
        """Say that you see to an alert: JSON ``{"rule", "site", "station"}``."""
        given = _read(await request.body(), AlertKey)
        who: Account = request.state.account
        done = await anyio.to_thread.run_sync(
            lambda: book.acknowledge(given.rule, given.site, given.station, who=who.name or "somebody")
        )
        if not done:
            raise HTTPException(404, "That alert does not fire.")
        return Response(status_code=204)

    @app.post("/api/alerts/silence", tags=["alerts"], status_code=204, openapi_extra=_body_of(Silence))
    async def silence(request: Request) -> Response:
        """Send no notices for some minutes: JSON ``{"rule", "site", "station", "minutes"}``; patterns are allowed."""
        given = _read(await request.body(), Silence)
        who: Account = request.state.account
        until_ns = clock.wall_ns() + round(given.minutes * 60e9)
        await anyio.to_thread.run_sync(
            lambda: book.silence(given.rule, given.site, given.station, until_ns=until_ns, who=who.name)
        )
        return Response(status_code=204)


def _metrics(app: FastAPI, reader: StoreReader, book: AlertBook, clock: Clock, state: IngestState) -> None:
    def text() -> str:
        fleet = reader.fleet(now_ns=clock.wall_ns())
        return metrics.render(reader.counters(), fleet, book.firing(), state)

    @app.get("/metrics", tags=["monitor"], response_class=PlainTextResponse)
    async def prometheus() -> Response:
        """The monitor's numbers as Prometheus reads them."""
        return Response(await anyio.to_thread.run_sync(text), media_type=metrics.CONTENT_TYPE)


def _read(body: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise HTTPException(422, f"The request cannot be read: {error}.") from error


def _login(app: FastAPI, accounts: Accounts, clock: Clock, is_secure: bool) -> None:
    attempts = Attempts()
    one_at_a_time = anyio.CapacityLimiter(1)  # a hash takes 19 MiB

    @app.get("/api/me", tags=["accounts"], responses=_answers(Me))
    async def me(request: Request) -> Response:
        """Who you are and what you may do."""
        account: Account = request.state.account
        return _json(Me(name=account.name, role=account.role.name.lower(), login=account is not ANYBODY))

    @app.post(
        "/api/login",
        tags=["accounts"],
        status_code=204,
        responses={401: {"description": "Wrong."}, 429: {"description": "Wait."}},
        openapi_extra=_body_of(Credentials),
    )
    async def log_in(request: Request) -> Response:
        """Open a session: JSON ``{"name", "password"}``; the answer sets a cookie."""
        given = _read(await request.body(), Credentials)
        if not attempts.allow(request.client.host if request.client else "", clock.monotonic_ns() / 1e9):
            raise HTTPException(429, "Too many attempts. Wait a minute.", headers={"Retry-After": "60"})
        token = await anyio.to_thread.run_sync(
            lambda: accounts.log_in(given.name, given.password, now_ns=clock.wall_ns()), limiter=one_at_a_time
        )
        if token is None:
            raise HTTPException(401, "No user of that name has that password.")
        response = Response(status_code=204)
        response.set_cookie(
            COOKIE, token, max_age=SESSION_NS // 10**9, httponly=True, samesite="strict", secure=is_secure
        )
        return response

    @app.post("/api/logout", tags=["accounts"], status_code=204)
    async def log_out(request: Request) -> Response:
        """End the session."""
        if token := session_token(request.headers.get("cookie", "")):
            await anyio.to_thread.run_sync(accounts.log_out, token)
        response = Response(status_code=204)
        response.delete_cookie(COOKIE)
        return response


def _live(app: FastAPI, reader: StoreReader, clock: Clock, state: IngestState, is_stopping: Callable[[], bool]) -> None:
    def read(rev: int) -> Fleet:
        return reader.fleet(now_ns=clock.wall_ns(), since_rev=rev)

    async def feed(rev: int) -> AsyncIterator[bytes]:
        seen, quiet_s = -1, 0.0
        while not is_stopping():
            if state.commits != seen or reader.is_shared:
                seen = state.commits
                fleet = await anyio.to_thread.run_sync(read, rev)
                if fleet.stations:
                    rev, quiet_s = fleet.rev, 0.0
                    yield b"id: %d\nevent: fleet\ndata: " % rev + msgspec.json.encode(fleet) + b"\n\n"
                await anyio.sleep(_LIVE_INTERVAL_S)  # at most so often, however many commits there are
            if quiet_s >= _LIVE_KEEPALIVE_S:
                quiet_s = 0.0
                yield b": still here\n\n"
            await anyio.sleep(_LIVE_LOOK_S)
            quiet_s += _LIVE_LOOK_S

    @app.get("/api/live", tags=["fleet"], response_class=StreamingResponse)
    async def live(request: Request, since_rev: Annotated[int, Query(ge=-1, le=_MAX_NS)] = -1) -> StreamingResponse:
        """Server-sent events ``fleet``: stations that changed after commit `since_rev`, as they change."""
        last = request.headers.get("last-event-id", "")
        rev = int(last) if last.isdecimal() and len(last) < 19 else since_rev
        return StreamingResponse(feed(rev), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


def _pages(app: FastAPI) -> None:
    app.mount("/static", StaticFiles(directory=STATIC), name="static")

    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    for path in ("/", "/login", "/station/{site}/{station}", "/alerts", "/events", "/quarantine"):
        app.add_api_route(path, page, include_in_schema=False)


def _json(value: object, *, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json")


def _answers(kind: Any, *, missing: bool = False) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI description of an answer, from the type that it is made of."""
    (schema,), _ = msgspec.json.schema_components((kind,), ref_template=_REF)
    answers: dict[int | str, dict[str, Any]] = {200: {"content": {"application/json": {"schema": schema}}}}
    if missing:
        answers[404] = {"description": "Never heard of."}
    return answers


def _body_of(kind: Any) -> dict[str, Any]:
    """The OpenAPI description of what a request must hold."""
    (schema,), _ = msgspec.json.schema_components((kind,), ref_template=_REF)
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _describe(app: FastAPI) -> None:
    """Put the types that answers and requests are made of into the OpenAPI document."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        document = made()
        _, parts = msgspec.json.schema_components(_TYPES, ref_template=_REF)
        document.setdefault("components", {}).setdefault("schemas", {}).update(parts)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _time_ns(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        time_ns = int(text) if text.isdecimal() else from_datetime(datetime.fromisoformat(text))
    except (ValueError, TypeError):
        time_ns = -1
    if not 0 <= time_ns <= _MAX_NS:
        raise HTTPException(422, f"{name} is {text[:64]!r}; wanted is ISO 8601 with a zone, or nanoseconds.")
    return time_ns
