"""Parquet files, by pyarrow: columns as numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_sdk.base.errors import MissingExtraError, SensorError

try:
    import pyarrow
    from pyarrow import parquet
except ModuleNotFoundError as missing:
    raise MissingExtraError("A .parquet recording", extra="export") from missing


def column_names(path: Path) -> list[str]:
    """Names of the columns.

    Raises:
        SensorError: It is no Parquet file.
    """
    try:
        return list(parquet.read_schema(path).names)
    except (OSError, pyarrow.ArrowException) as error:
        raise SensorError(f"Recording {path} cannot be read: {error}. Wanted is a .parquet file.") from error


def read_columns(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Columns by name, ``(n_rows,)``; what is missing becomes NaN or NaT.

    Raises:
        SensorError: It is no Parquet file, or a column holds no numbers.
    """
    try:
        table = parquet.read_table(path, columns=list(names))
        arrays = {name: table.column(name).to_numpy() for name in names}
    except (OSError, pyarrow.ArrowException) as error:
        raise SensorError(f"Recording {path} cannot be read: {error}. Wanted is a .parquet file.") from error
    for name, array in arrays.items():
        if not (np.issubdtype(array.dtype, np.number) or np.issubdtype(array.dtype, np.datetime64)):
            raise SensorError(f"{path}: column {name!r} is {array.dtype}; wanted are numbers. Name other channels.")
    return arrays
