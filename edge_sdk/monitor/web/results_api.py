"""Results: the newest, over time, and as files to take away."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

import anyio.to_thread
import msgspec
from fastapi import FastAPI, HTTPException, Query, Response
from fastapi.responses import FileResponse, StreamingResponse
from starlette.background import BackgroundTask

from edge_sdk.base.errors import MissingExtraError
from edge_sdk.monitor.export import csv_head, csv_rows, exported, parquet_writer
from edge_sdk.monitor.store.reader import StoreReader
from edge_sdk.monitor.store.views import Chart, StoredResult
from edge_sdk.monitor.web.document import Moment, Points, Rows, answers, json_of, open_span, span

DOWNLOAD_ROWS = 1_000_000
_PART_ROWS = 2000


def add_results(app: FastAPI, reader: StoreReader) -> None:
    """Add these paths."""

    @app.get("/api/results", tags=["results"], responses=answers(list[StoredResult]))
    async def results(
        site: str | None = None,
        station: str | None = None,
        stream: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        limit: Rows = 100,
    ) -> Response:
        """The newest stored results, oldest of them first."""
        since_ns, until_ns = open_span(since, until)
        ask = partial(
            reader.results, site=site, station=station, stream=stream, since_ns=since_ns, until_ns=until_ns, limit=limit
        )
        return json_of(await anyio.to_thread.run_sync(lambda: list(ask())))

    @app.get("/api/chart", tags=["results"], responses=answers(Chart))
    async def chart(
        site: str,
        station: str,
        stream: str,
        since: Moment,
        until: Moment,
        points: Points = 300,
        picks: Annotated[int, Query(ge=0, le=200)] = 60,
    ) -> Response:
        """One stream over time, down-sampled: labels, confidence or values, and some whole results."""
        start_ns, end_ns = span(since, until)
        ask = partial(reader.chart, site, station, stream, start_ns=start_ns, end_ns=end_ns, points=points, picks=picks)
        return json_of(await anyio.to_thread.run_sync(ask))

    @app.get(
        "/api/download",
        tags=["results"],
        response_class=StreamingResponse,
        responses={
            200: {"content": {"text/csv": {}, "application/jsonl": {}, "application/vnd.apache.parquet": {}}},
            501: {"description": "Parquet needs pyarrow at the monitor."},
        },
    )
    async def download(
        format: Annotated[Literal["csv", "jsonl", "parquet"], Query()] = "csv",
        site: str | None = None,
        station: str | None = None,
        stream: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        limit: Rows | None = None,
    ) -> Response:
        """Stored results as a file: the newest `limit`, or up to a million; `edge-sdk monitor export` has no bound."""
        since_ns, until_ns = open_span(since, until)
        found = islice(
            reader.results(
                site=site, station=station, stream=stream, since_ns=since_ns, until_ns=until_ns, limit=limit
            ),
            DOWNLOAD_ROWS,
        )
        name = "-".join(part for part in (site, station, stream, "results") if part and part.isascii())
        safe = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)
        headers = {"content-disposition": f'attachment; filename="{safe}.{format}"'}
        if format == "parquet":
            path = await anyio.to_thread.run_sync(_parquet, found)
            return FileResponse(
                path,
                media_type="application/vnd.apache.parquet",
                headers=headers,
                background=BackgroundTask(path.unlink),
            )
        kind = "text/csv; charset=utf-8" if format == "csv" else "application/jsonl"
        return StreamingResponse(_parts(found, format), media_type=kind, headers=headers)


def _parts(found: Iterator[StoredResult], format: str) -> Iterator[bytes]:
    """The file, some thousand rows at a time; nothing is held back."""
    if format == "csv":
        yield csv_head()
    encoder = msgspec.json.Encoder()
    while rows := [exported(one) for one in islice(found, _PART_ROWS)]:
        yield csv_rows(rows) if format == "csv" else encoder.encode_lines(rows)


def _parquet(found: Iterator[StoredResult]) -> Path:
    try:
        write = parquet_writer()
    except MissingExtraError as error:
        raise HTTPException(501, str(error)) from error
    with tempfile.NamedTemporaryFile(prefix="edge-download-", suffix=".parquet", delete=False) as file:
        path = Path(file.name)
    write(path, (exported(one) for one in found))
    return path
