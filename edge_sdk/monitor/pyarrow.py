"""Parquet files, by pyarrow."""

from __future__ import annotations

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


def write_parquet(path: Path, rows: list[ExportedResult]) -> None:
    """Write ``path.parquet``; the site is in its directory's name too, so it is left out of the columns."""
    columns = {
        name.removesuffix("_ns"): pa.array([getattr(row, name) for row in rows], kind)
        for name, kind in _TYPES.items()
        if name != "site"
    }
    pyarrow.parquet.write_table(pa.table(columns), path.with_name(path.name + ".parquet"), compression="zstd")
