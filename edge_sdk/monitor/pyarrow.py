"""Parquet files, by pyarrow."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet

if TYPE_CHECKING:
    from edge_sdk.monitor.export import ExportedResult

_TYPES = {
    "site": pa.string(),
    "station": pa.string(),
    "stream": pa.string(),
    "epoch": pa.string(),
    "seq": pa.int64(),
    "t_ns": pa.timestamp("ns", tz="UTC"),
    "observed_ns": pa.timestamp("ns", tz="UTC"),
    "stored_ns": pa.timestamp("ns", tz="UTC"),
    "label": pa.string(),
    "confidence": pa.float64(),
    "value": pa.float64(),
    "unit": pa.string(),
    "degraded": pa.bool_(),
    "backlog": pa.bool_(),
    "body": pa.string(),
}


_GROUP_ROWS = 50_000


def write_parquet(path: Path, rows: Iterable[ExportedResult], *, without: str = "") -> None:
    """Write the file, group by group.

    Args:
        path: The file.
        rows: What to write.
        without: A column that is in the names of the file's directories already.
    """
    types = {name: kind for name, kind in _TYPES.items() if name != without}
    schema = pa.schema([(name.removesuffix("_ns"), kind) for name, kind in types.items()])
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        more = iter(rows)
        while group := list(islice(more, _GROUP_ROWS)):
            columns = [pa.array([getattr(row, name) for row in group], kind) for name, kind in types.items()]
            writer.write_table(pa.table(columns, schema=schema))
