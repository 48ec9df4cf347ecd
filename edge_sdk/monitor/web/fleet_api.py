"""The fleet: stations, their health and events, and what runs on them."""

from __future__ import annotations

from typing import Annotated

import anyio.to_thread
from fastapi import FastAPI, HTTPException, Query, Response

from edge_sdk.base.clock import Clock
from edge_sdk.monitor.store.inventory import BundleInField
from edge_sdk.monitor.store.reader import StoreReader
from edge_sdk.monitor.store.views import BacklogPoint, EventView, Fleet, StationDetail
from edge_sdk.monitor.web.document import MAX_NS, Moment, Points, Rows, answers, json_of, span


def add_fleet(app: FastAPI, reader: StoreReader, clock: Clock) -> None:
    """Add these paths."""

    @app.get("/api/stations", tags=["fleet"], responses=answers(Fleet))
    async def stations(since_rev: Annotated[int, Query(ge=-1, le=MAX_NS)] = -1) -> Response:
        """Every station with its newest results, or those that changed after commit `since_rev`."""
        return json_of(
            await anyio.to_thread.run_sync(lambda: reader.fleet(now_ns=clock.wall_ns(), since_rev=since_rev))
        )

    @app.get("/api/stations/{site}/{station}", tags=["fleet"], responses=answers(StationDetail, missing=True))
    async def station(site: str, station: str) -> Response:
        """All that is known of one station."""
        found = await anyio.to_thread.run_sync(lambda: reader.station(site, station, now_ns=clock.wall_ns()))
        if found is None:
            raise HTTPException(404, f"No station {site}/{station} was ever heard.")
        return json_of(found)

    @app.get("/api/bundles", tags=["fleet"], responses=answers(list[BundleInField]))
    async def bundles() -> Response:
        """Which models run in the field: bundle, variant, backend really in use, on how many stations."""
        return json_of(await anyio.to_thread.run_sync(lambda: reader.bundles(now_ns=clock.wall_ns())))

    @app.get("/api/backlog", tags=["fleet"], responses=answers(list[BacklogPoint]))
    async def backlog(site: str, station: str, since: Moment, until: Moment, points: Points = 300) -> Response:
        """A station's backlog, temperature and memory over time, the worst of each stretch."""
        start_ns, end_ns = span(since, until)
        return json_of(
            await anyio.to_thread.run_sync(
                lambda: reader.backlog(site, station, start_ns=start_ns, end_ns=end_ns, points=points)
            )
        )

    @app.get("/api/events", tags=["fleet"], responses=answers(list[EventView]))
    async def events(site: str | None = None, station: str | None = None, limit: Rows = 100) -> Response:
        """What happened on stations, newest first."""
        return json_of(await anyio.to_thread.run_sync(lambda: reader.events(site=site, station=station, limit=limit)))
