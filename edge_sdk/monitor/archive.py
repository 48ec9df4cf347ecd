"""The archive: Parquet files of samples, and of results that were deployed. By pyarrow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet
from numpy.typing import NDArray
from pyarrow import fs

from edge_sdk.base.errors import ConfigError
from edge_sdk.monitor.backtest.replay import Rows

WANTED = ("station", "sensor", "t", "values")
COLUMNS = ("t", "sensor", "values", "rate_hz", "label", "confidence", "value")
"""Of a station's rows; the first three a sample must have, `confidence` and `value` a deployed result has."""
_GROUP_ROWS = 50_000
_NAMES = ["site", "station", "t", "label", "confidence", "value", "truth", "tally"]
_KINDS = (pa.string(), pa.string(), pa.int64(), pa.string(), pa.float64(), pa.float64(), pa.string())


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

    With a ``rate_hz``, a row is a block of samples: ``values`` is a list of them.

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
        """Every station that measured, by site and name; a row without a site is of the site without a name.

        Raises:
            ConfigError: A row has no station.
        """
        names = [name for name in ("site", "station") if name in self._samples.schema.names]
        found = {
            (row.get("site"), row["station"])
            for batch in self._samples.to_batches(columns=names)
            for row in pa.Table.from_batches([batch]).group_by(names).aggregate([]).to_pylist()
        }
        if any(station is None for _, station in found):
            raise nameless()
        return sorted({("" if site is None else str(site), str(station)) for site, station in found})

    def rows(self, site: str, station: str, stream: str | None) -> Iterator[Rows]:
        """One station's samples, then its deployed results."""
        yield rows_of(_of(self._samples, site, station, None))
        if self._deployed is not None:
            yield rows_of(_of(self._deployed, site, station, stream))


def nameless() -> ConfigError:
    """A row of the archive has no station."""
    return ConfigError("A row of the archive has no station. Give each row the name of who measured.")


def rows_of(table: Any) -> Rows:
    """Rows of an Arrow table or batch: samples have a sensor, deployed results none."""
    values = _column(table, "values", pa.list_(pa.float32()))
    is_block = _is_list(values.type.value_type)
    lengths = _int(pc.list_value_length(values))
    flat = pc.list_flatten(values)
    counts, widths = (lengths > 0).astype(np.int64), lengths
    if is_block:
        ends = np.concatenate(([0], np.cumsum(_int(pc.list_value_length(flat)))))
        until = np.cumsum(lengths)
        counts, widths = lengths, ends[until] - ends[until - lengths]
        flat = pc.list_flatten(flat)
    times = table["t"]
    if pa.types.is_timestamp(times.type):
        times = times.cast(pa.timestamp("ns", tz=times.type.tz))
    sensors, sensor_names = _coded(_column(table, "sensor", pa.string()))
    labels, label_names = _coded(_column(table, "label", pa.string()))
    rates_hz = _float(_column(table, "rate_hz", pa.float64()))
    return Rows(
        times_ns=_int(times.cast(pa.int64())),
        sensors=sensors,
        sensor_names=sensor_names,
        counts=counts,
        widths=widths,
        values=flat.cast(pa.float32()).to_numpy(zero_copy_only=False) if len(flat) else np.zeros(0, np.float32),
        rates_hz=rates_hz,
        labels=labels,
        label_names=label_names,
        confidences=_float(_column(table, "confidence", pa.float64())),
        estimates=_float(_column(table, "value", pa.float64())),
    )


def stations_of(batch: Any) -> Iterator[tuple[str, str, Rows]]:
    """Site, station and rows of an Arrow batch that holds one station after the other."""
    sites, site_names = _coded(_column(batch, "site", pa.string()))
    stations, station_names = _coded(_column(batch, "station", pa.string()))
    changes = np.flatnonzero((np.diff(sites) != 0) | (np.diff(stations) != 0)) + 1
    for first, end in pairwise([0, *(int(one) for one in changes), batch.num_rows]):
        if first < end:
            site = site_names[sites[first]] if sites[first] >= 0 else ""
            yield site, station_names[stations[first]], rows_of(batch.slice(first, end - first))


def found_batch(found: list[Found]) -> Any:
    """Results of a back-test as an Arrow batch; ``tally`` is empty."""
    columns = [pa.array(list(column), kind) for column, kind in zip(zip(*found, strict=True), _KINDS, strict=True)]
    return pa.record_batch([*columns, pa.nulls(len(found), pa.binary())], names=_NAMES)


def tally_batch(site: str, station: str, tally: bytes) -> Any:
    """A station's tally as an Arrow batch of one row."""
    row = (site, station, 0, None, None, None, None)
    columns = [pa.array([one], kind) for one, kind in zip(row, _KINDS, strict=True)]
    return pa.record_batch([*columns, pa.array([tally], pa.binary())], names=_NAMES)


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
    chosen = pc.field("station").cast(pa.string()) == station
    if "site" in names:
        chosen &= pc.coalesce(pc.field("site").cast(pa.string()), pc.scalar("")) == site
    if stream is not None and "stream" in names:
        chosen &= pc.field("stream") == stream
    wanted = [name for name in COLUMNS if name in names]
    return dataset.to_table(columns=wanted, filter=chosen)


def _is_list(kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _column(table: Any, name: str, kind: Any) -> Any:
    """A column in one piece; of nothing where there is none."""
    if name not in table.schema.names or pa.types.is_null(table.schema.field(name).type):
        return pa.nulls(table.num_rows, kind)
    found = table[name]
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def _int(column: Any) -> NDArray[np.int64]:
    found: NDArray[np.int64] = pc.fill_null(column, 0).to_numpy(zero_copy_only=False).astype(np.int64)
    return found


def _float(column: Any) -> NDArray[np.float64]:
    found: NDArray[np.float64] = column.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
    return found


def _coded(column: Any) -> tuple[NDArray[np.int64], list[str]]:
    """Each text once, and for each row its place; -1 = none."""
    found = column.cast(pa.string()).dictionary_encode()
    places: NDArray[np.int64] = pc.fill_null(found.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return places, [str(one) for one in found.dictionary.to_pylist()]
