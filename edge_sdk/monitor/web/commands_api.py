"""Commands to stations: what was given and what it came to, and giving one."""

from __future__ import annotations

from typing import Any

import anyio.to_thread
import msgspec
from fastapi import FastAPI, HTTPException, Request, Response

from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import TransportError
from edge_sdk.monitor.accounts import Account, Role
from edge_sdk.monitor.commands.book import CommandRecord, CommandView
from edge_sdk.monitor.commands.desk import Desk
from edge_sdk.monitor.store.reader import StoreReader
from edge_sdk.monitor.web.document import Rows, answers, body_of, json_of, read

_ARGUMENTS_BYTES = 4096


class Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a station is to do.

    Attributes:
        verb: One of what this monitor gives (`web.commands` of its configuration).
        arguments: What the verb takes; the station judges it.
    """

    verb: str
    arguments: dict[str, Any] = {}


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What may be commanded.

    Attributes:
        verbs: What this monitor gives to you; each station must allow it too.
    """

    verbs: tuple[str, ...]


def add_commands(app: FastAPI, desk: Desk, reader: StoreReader, clock: Clock) -> None:
    """Add these paths."""

    @app.get("/api/commands", tags=["commands"], responses=answers(list[CommandView]))
    async def commands(site: str | None = None, station: str | None = None, limit: Rows = 100) -> Response:
        """What was sent to stations, from here and elsewhere, and what they answered; the newest first."""
        return json_of(
            await anyio.to_thread.run_sync(
                lambda: desk.book.commands(site=site, station=station, limit=limit, now_ns=clock.wall_ns())
            )
        )

    @app.get("/api/commands/verbs", tags=["commands"], responses=answers(Orders))
    async def verbs(request: Request) -> Response:
        """What you may command from here."""
        who: Account = request.state.account
        return json_of(Orders(verbs=desk.allow if who.role >= Role.OPERATOR else ()))

    @app.get(
        "/api/stations/{site}/{station}/commands/{command}",
        tags=["commands"],
        responses=answers(CommandRecord, missing=True),
    )
    async def record(site: str, station: str, command: str) -> Response:
        """One command with what it gave, such as a snapshot's windows."""
        found = await anyio.to_thread.run_sync(lambda: desk.book.record(site, station, command, now_ns=clock.wall_ns()))
        if found is None:
            raise HTTPException(404, f"No command {command[:64]!r} was ever sent to {site[:64]}/{station[:64]}.")
        return json_of(found)

    @app.post(
        "/api/stations/{site}/{station}/commands",
        tags=["commands"],
        status_code=202,
        responses={
            202: {"description": "Written down, and on its way.", "content": answers(CommandView)[200]["content"]},
            404: {"description": "No such station was ever heard."},
        },
        openapi_extra=body_of(Order),
    )
    async def give(site: str, station: str, request: Request) -> Response:
        """Give a command: JSON ``{"verb", "arguments"}``. The station obeys what its own configuration allows."""
        body = await request.body()
        order = read(body, Order)
        if order.verb not in desk.allow:
            raise HTTPException(
                422, f"{order.verb[:64]!r} is not given from here; {', '.join(desk.allow) or 'nothing'} is."
            )
        if len(body) > _ARGUMENTS_BYTES:
            raise HTTPException(422, f"The command has {len(body)} bytes; at most {_ARGUMENTS_BYTES} are sent.")
        if await anyio.to_thread.run_sync(lambda: reader.station(site, station, now_ns=clock.wall_ns())) is None:
            raise HTTPException(404, f"No station {site[:64]}/{station[:64]} was ever heard.")
        who: Account = request.state.account
        try:
            given = await desk.give(site, station, order.verb, order.arguments, who=who.name or "somebody")
        except TransportError as error:
            raise HTTPException(503, str(error)) from error
        return json_of(given, status=202)
