"""The live feed: server-sent events, as stations change."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Annotated

import anyio
import anyio.to_thread
import msgspec
from fastapi import FastAPI, Query, Request
from fastapi.responses import StreamingResponse

from edge_sdk.base.clock import Clock
from edge_sdk.monitor.ingest import IngestState
from edge_sdk.monitor.store.reader import StoreReader
from edge_sdk.monitor.store.views import Fleet
from edge_sdk.monitor.web.document import MAX_NS

_LIVE_INTERVAL_S = 0.15
_LIVE_LOOK_S = 0.04
_LIVE_KEEPALIVE_S = 15.0


def add_live(
    app: FastAPI, reader: StoreReader, clock: Clock, state: IngestState, is_stopping: Callable[[], bool]
) -> None:
    """Add the feed."""

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
    async def live(request: Request, since_rev: Annotated[int, Query(ge=-1, le=MAX_NS)] = -1) -> StreamingResponse:
        """Server-sent events ``fleet``: stations that changed after commit `since_rev`, as they change."""
        last = request.headers.get("last-event-id", "")
        rev = int(last) if last.isdecimal() and len(last) < 19 else since_rev
        return StreamingResponse(feed(rev), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
