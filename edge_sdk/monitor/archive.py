"""The archive: Parquet files of samples, and of results that were deployed. By pyarrow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet
from pyarrow import fs

from edge_sdk.base.errors import ConfigError
from edge_sdk.monitor.backtest.replay import Row

WANTED = ("station", "sensor", "t", "values")
_GROUP_ROWS = 50_000


class Found(NamedTuple):
    """One result of the back-test, as it is kept.

    Attributes:
        site: The site's id.
        station: The station's id.
        t_ns: Event time.
        label: The fused label.
        confidence: Its probability.
        value: The fused estimate.
        truth: What was true then, where that is known.
    """

    site: str
    station: str
    t_ns: int
    label: str | None
    confidence: float | None
    value: float | None
    truth: str | None


@dataclass(slots=True)
class Archive:
    """Samples in columns ``station``, ``sensor``, ``t``, ``values``, and ``site`` and ``label`` where they are known.

    Attributes:
        samples: Directory or URL (``s3://…``) of the samples.
        deployed: Directory or URL of results, as `edge-sdk monitor export --format parquet` writes them; None = none.
    """

    samples: str
    deployed: str | None = None
    _samples: Any = field(init=False)
    _deployed: Any = field(init=False)

    def __post_init__(self) -> None:
        self._samples = _open(self.samples)
        self._deployed = _open(self.deployed) if self.deployed else None
        if missing := [name for name in WANTED if name not in self._samples.schema.names]:
            raise ConfigError(
                f"{self.samples} has no column {', '.join(missing)}; wanted are {', '.join(WANTED)}, and site and "
                f"label where they are known. There are: {', '.join(self._samples.schema.names)}."
            )

    def stations(self) -> list[tuple[str, str]]:
        """Every station that measured, by site and name."""
        names = [name for name in ("site", "station") if name in self._samples.schema.names]
        found = {
            (str(row.get("site", "")), str(row["station"]))
            for batch in self._samples.to_batches(columns=names)
            for row in pa.Table.from_batches([batch]).group_by(names).aggregate([]).to_pylist()
        }
        return sorted(found)

    def rows(self, site: str, station: str, stream: str | None) -> Iterator[Row]:
        """One station's samples, and its deployed results, in order of time."""
        rows = list(_samples(_of(self._samples, site, station, None)))
        if self._deployed is not None:
            rows += _results(_of(self._deployed, site, station, stream))
        rows.sort(key=lambda row: row.t_ns)
        return iter(rows)


def write_results(path: Path, found: Iterator[Found]) -> None:
    """Keep a back-test's results as one Parquet file."""
    types = (
        pa.string(),
        pa.string(),
        pa.timestamp("ns", tz="UTC"),
        pa.string(),
        pa.float64(),
        pa.float64(),
        pa.string(),
    )
    schema = pa.schema(list(zip((name.removesuffix("_ns") for name in Found._fields), types, strict=True)))
    path.parent.mkdir(parents=True, exist_ok=True)
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        while group := list(islice(found, _GROUP_ROWS)):
            columns = [
                pa.array(list(column), kind) for column, kind in zip(zip(*group, strict=True), types, strict=True)
            ]
            writer.write_table(pa.table(columns, schema=schema))


def _open(place: str) -> Any:
    try:
        system, path = fs.FileSystem.from_uri(place) if "://" in place else (fs.LocalFileSystem(), place)
        return pyarrow.dataset.dataset(path, filesystem=system, format="parquet", partitioning="hive")
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(f"{place} cannot be read as Parquet: {error}.") from error


def _of(dataset: Any, site: str, station: str, stream: str | None) -> Any:
    names = dataset.schema.names
    chosen = pc.field("station") == station
    if site and "site" in names:
        chosen &= pc.field("site").cast(pa.string()) == site
    if stream is not None and "stream" in names:
        chosen &= pc.field("stream") == stream
    wanted = [name for name in ("t", "sensor", "values", "label", "confidence", "value") if name in names]
    return dataset.to_table(columns=wanted, filter=chosen)


def _times(table: Any) -> list[int]:
    column = table["t"]
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ns", tz=column.type.tz)).cast(pa.int64())
    return [int(one) for one in column.to_pylist()]


def _column(table: Any, name: str) -> list[Any]:
    return table[name].to_pylist() if name in table.schema.names else [None] * len(table)


def _samples(table: Any) -> Iterator[Row]:
    labels = (None if one is None else str(one) for one in _column(table, "label"))
    columns = zip(_times(table), _column(table, "sensor"), _column(table, "values"), labels, strict=True)
    for t_ns, sensor, values, label in columns:
        yield Row(t_ns, str(sensor), values, label)


def _results(table: Any) -> Iterator[Row]:
    columns = (_column(table, name) for name in ("label", "confidence", "value"))
    for t_ns, label, confidence, value in zip(_times(table), *columns, strict=True):
        yield Row(t_ns, None, None, label, confidence, value)
