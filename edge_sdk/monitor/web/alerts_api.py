"""Alerts: what fires, who sees to it, what is silenced."""

from __future__ import annotations

from typing import Annotated

import anyio.to_thread
import msgspec
from fastapi import FastAPI, HTTPException, Path, Request, Response

from edge_sdk.base.clock import Clock
from edge_sdk.monitor.accounts import Account
from edge_sdk.monitor.alerts.book import Alert, AlertBook, Silenced
from edge_sdk.monitor.web.document import MAX_NS, answers, body_of, json_of, read


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


def add_alerts(app: FastAPI, book: AlertBook, clock: Clock) -> None:
    """Add these paths."""

    @app.get("/api/alerts", tags=["alerts"], responses=answers(list[Alert]))
    async def alerts() -> Response:
        """What fires now, the newest first."""
        return json_of(await anyio.to_thread.run_sync(book.firing))

    @app.get("/api/alerts/silences", tags=["alerts"], responses=answers(list[Silenced]))
    async def silences() -> Response:
        """What sends no notices now."""
        return json_of(await anyio.to_thread.run_sync(lambda: book.silences(now_ns=clock.wall_ns())))

    @app.delete(
        "/api/alerts/silences/{number}",
        tags=["alerts"],
        status_code=204,
        responses={404: {"description": "There is none of that number."}},
    )
    async def end_silence(number: Annotated[int, Path(ge=0, le=MAX_NS)]) -> Response:
        """Let notices be sent again."""
        if not await anyio.to_thread.run_sync(book.end_silence, number):
            raise HTTPException(404, f"There is no silence {number}.")
        return Response(status_code=204)

    @app.post(
        "/api/alerts/acknowledge",
        tags=["alerts"],
        status_code=204,
        responses={404: {"description": "It does not fire."}},
        openapi_extra=body_of(AlertKey),
    )
    async def acknowledge(request: Request) -> Response:
        """Say that you see to an alert: JSON ``{"rule", "site", "station"}``."""
        given = read(await request.body(), AlertKey)
        who: Account = request.state.account
        done = await anyio.to_thread.run_sync(
            lambda: book.acknowledge(given.rule, given.site, given.station, who=who.name or "somebody")
        )
        if not done:
            raise HTTPException(404, "That alert does not fire.")
        return Response(status_code=204)

    @app.post("/api/alerts/silence", tags=["alerts"], status_code=204, openapi_extra=body_of(Silence))
    async def silence(request: Request) -> Response:
        """Send no notices for some minutes: JSON ``{"rule", "site", "station", "minutes"}``; patterns are allowed."""
        given = read(await request.body(), Silence)
        who: Account = request.state.account
        until_ns = clock.wall_ns() + round(given.minutes * 60e9)
        await anyio.to_thread.run_sync(
            lambda: book.silence(given.rule, given.site, given.station, until_ns=until_ns, who=who.name)
        )
        return Response(status_code=204)
