"""Reads windows from Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from edge_sdk.base.errors import CalibrationError


def read_parquet(path: Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Read x, and y where there is a column of that name.

    A column ``x`` of lists (nested for samples of channels) holds a window in each row; without it every other column
    is a number of a window of one sample.

    Raises:
        CalibrationError: It is no Parquet file, or holds no numbers.
    """
    try:
        table: Any = parquet.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise CalibrationError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}.") from error
    y = table["y"].to_numpy() if "y" in table.column_names else None
    names = [name for name in table.column_names if name != "y"]
    try:
        if "x" in names and pa.types.is_nested(table.schema.field("x").type):
            return np.array(table["x"].to_pylist(), dtype=np.float64), y
        return np.stack([table[name].to_numpy().astype(np.float64) for name in names], axis=1), y
    except (ValueError, TypeError) as error:
        raise CalibrationError(
            f"{path} has columns {', '.join(table.column_names) or 'none'}; wanted is x, a list of numbers of one "
            f"length in each row, or columns of numbers alone; and y. ({error})"
        ) from error
