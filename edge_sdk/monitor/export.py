"""Export: stored results as files, one directory per site and day, for notebooks and for other machines."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import UNSET

from edge_sdk.base.clock import to_datetime
from edge_sdk.base.errors import ConfigError, MissingExtraError
from edge_sdk.monitor.store.views import StoredResult

PART_ROWS = 50_000
BUFFERED_ROWS = 200_000
FORMATS = ("jsonl", "csv", "parquet")


class ExportedResult(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One row: the columns of every format.

    Attributes:
        site: The site's id.
        station: The station's id.
        stream: The stream.
        epoch: The outbox that numbered it.
        seq: Its number there.
        t_ns: Event time, nanoseconds since the Unix epoch.
        observed_ns: When its last sample reached the station.
        stored_ns: When the monitor stored it.
        label: The fused label, or None.
        confidence: Its probability.
        value: The fused estimate, or None.
        unit: Its unit.
        degraded: Whether a contributor was missing.
        backlog: Whether it waited on the station.
        body: JSON of the whole fused result, with its contributors.
    """

    site: str
    station: str
    stream: str
    epoch: str
    seq: int
    t_ns: int
    observed_ns: int
    stored_ns: int
    label: str | None
    confidence: float | None
    value: float | None
    unit: str | None
    degraded: bool
    backlog: bool
    body: str


COLUMNS = ExportedResult.__struct_fields__


def export_results(
    results: Iterable[StoredResult],
    directory: Path,
    *,
    format: str = "jsonl",
    advance: Callable[[int], None] = lambda rows: None,
) -> int:
    """Write ``directory/site=…/day=…/part-00000.…``; the day is that of the event time, in UTC.

    Args:
        results: What to write, in any order.
        directory: Where; must be empty or new, so that no row can be there twice.
        format: One of `FORMATS`.
        advance: Told how many more rows were taken.

    Returns:
        How many results were written.

    Raises:
        ConfigError: The directory holds something already, or there is no such format.
        MissingExtraError: Parquet needs pyarrow.
    """
    if format not in FORMATS:
        raise ConfigError(f"format is {format!r}; wanted is one of {', '.join(FORMATS)}.")
    if directory.exists() and any(directory.iterdir()):
        raise ConfigError(f"{directory} holds something already. Give a new directory.")
    writer = _writer(format)
    directory.mkdir(parents=True, exist_ok=True)
    waiting: dict[tuple[str, date], list[ExportedResult]] = {}
    parts: dict[tuple[str, date], int] = {}
    buffered = total = 0

    def flush(key: tuple[str, date]) -> int:
        site, day = key
        rows = waiting.pop(key)
        home = directory / f"site={site}" / f"day={day.isoformat()}"
        home.mkdir(parents=True, exist_ok=True)
        number = parts.get(key, 0)
        parts[key] = number + 1
        writer(home / f"part-{number:05}", rows)
        return len(rows)

    for one in results:
        row = exported(one)
        key = (row.site, to_datetime(row.t_ns).date())
        rows = waiting.setdefault(key, [])
        rows.append(row)
        buffered += 1
        total += 1
        if len(rows) >= PART_ROWS:
            buffered -= flush(key)
        elif buffered >= BUFFERED_ROWS:
            buffered -= flush(max(waiting, key=lambda one: len(waiting[one])))
        if not total % 10_000:
            advance(10_000)
    for key in list(waiting):
        flush(key)
    advance(total % 10_000)
    return total


def exported(one: StoredResult) -> ExportedResult:
    """A stored result as a row."""
    result = one.result
    return ExportedResult(
        site=one.site,
        station=one.station,
        stream=result.stream,
        epoch=one.epoch,
        seq=one.seq,
        t_ns=one.t_ns,
        observed_ns=one.observed_ns,
        stored_ns=one.stored_ns,
        label=None if result.label is UNSET else result.label,
        confidence=None if result.confidence is UNSET else result.confidence,
        value=None if result.value is UNSET else result.value,
        unit=None if result.unit is UNSET else result.unit,
        degraded=result.degraded,
        backlog=one.backlog,
        body=bytes(one.body).decode(),
    )


def _writer(format: str) -> Callable[[Path, list[ExportedResult]], None]:
    if format == "jsonl":
        return _write_jsonl
    if format == "csv":
        return _write_csv
    write = parquet_writer()
    return lambda path, rows: write(path.with_name(path.name + ".parquet"), rows, without="site")


class ParquetWriter(Protocol):
    """Writes rows into a Parquet file, without the column that is named."""

    def __call__(self, path: Path, rows: Iterable[ExportedResult], *, without: str = "") -> None:
        """Write the file."""


def parquet_writer() -> ParquetWriter:
    """What writes rows into a Parquet file.

    Raises:
        MissingExtraError: Parquet needs pyarrow.
    """
    try:
        from edge_sdk.monitor.pyarrow import write_parquet
    except ModuleNotFoundError as error:
        raise MissingExtraError("Parquet", extra="export") from error
    return write_parquet


def _write_jsonl(path: Path, rows: list[ExportedResult]) -> None:
    path.with_name(path.name + ".jsonl.gz").write_bytes(
        gzip.compress(msgspec.json.Encoder().encode_lines(rows), mtime=0)
    )


def _write_csv(path: Path, rows: list[ExportedResult]) -> None:
    path.with_name(path.name + ".csv.gz").write_bytes(gzip.compress(csv_head() + csv_rows(rows), mtime=0))


def csv_head() -> bytes:
    """The first line of a CSV file."""
    return _csv([COLUMNS])


def csv_rows(rows: Iterable[ExportedResult]) -> bytes:
    """The lines of these rows."""
    return _csv(msgspec.structs.astuple(row) for row in rows)


def _csv(rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
