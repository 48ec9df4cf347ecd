"""Recordings: ``.npz``, ``.csv`` and ``.parquet`` files as times and samples."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timezone
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_sdk.base.errors import ConfigError, SensorError, nearest
from edge_sdk.sensors.iso8601 import read_iso

# Numbers of this size and more are no seconds since 1970: milliseconds, microseconds, nanoseconds.
_UNITS = ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3))


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """What was measured before.

    Attributes:
        times_s: float64 ``(n,)``, rising from 0.
        samples: float32 ``(n, n_channels)``; NaN = not measured.
        channels: Names of the channels.
        begun_ns: When the first sample was measured, nanoseconds since 1970; None = not recorded.
        malformed: Lines that could not be read, or whose time did not rise.
    """

    times_s: NDArray[np.float64]
    samples: NDArray[np.float32]
    channels: tuple[str, ...]
    begun_ns: int | None = None
    malformed: int = 0

    @classmethod
    def read(
        cls,
        path: Path,
        *,
        rate_hz: float,
        array: str = "samples",
        time: str | None = None,
        channels: Sequence[str] = (),
    ) -> Recording:
        """Read a file; its ending says what it is.

        Args:
            path: ``.npz``, ``.csv`` or ``.parquet``.
            rate_hz: Samples a second, where no times are recorded.
            array: Name of the array, of an ``.npz``.
            time: Name of the column with the times; None = no times: evenly spaced.
            channels: Names of the columns to take, in order; none = all but the time.

        Raises:
            ConfigError: It does not hold what is named, or its times do not rise.
            SensorError: It cannot be read.
        """
        readers: dict[str, Callable[[], Recording]] = {
            ".npz": lambda: _of_arrays(path, array, channels),
            ".csv": lambda: _of_csv(path, rate_hz, time, channels),
            ".parquet": lambda: _of_parquet(path, rate_hz, time, channels),
        }
        if path.suffix not in readers:
            raise ConfigError(f"{path} is no recording; wanted is a file that ends in {', '.join(readers)}.")
        try:
            return readers[path.suffix]()
        except (ConfigError, SensorError, ImportError):
            raise
        except (OSError, ValueError, EOFError) as error:
            raise SensorError(f"Recording {path} cannot be read: {error}. Wanted is a {path.suffix} file.") from error


def _of_arrays(path: Path, array: str, channels: Sequence[str]) -> Recording:
    with np.load(path, allow_pickle=False) as arrays:
        if missing := {"times_s", array} - set(arrays.files):
            raise ConfigError(
                f"{path} has no array {sorted(missing)[0]!r}; it has {', '.join(arrays.files)}. "
                "A recording holds times_s (n,) and samples (n, n_channels)."
            )
        times_s, samples = arrays["times_s"].astype(np.float64), arrays[array].astype(np.float32)
    if samples.ndim != 2 or times_s.shape != (len(samples),) or len(samples) == 0 or (np.diff(times_s) <= 0).any():
        raise ConfigError(
            f"{path}: times_s {times_s.shape} must rise and match samples {samples.shape} (n, n_channels), n > 0."
        )
    names = tuple(channels) or tuple(str(index) for index in range(samples.shape[1]))
    if len(names) != samples.shape[1]:
        raise ConfigError(f"{path} has {samples.shape[1]} channels, {len(names)} are named. Name each, in order.")
    return Recording(times_s - times_s[0], samples, names)


def _of_csv(path: Path, rate_hz: float, time: str | None, channels: Sequence[str]) -> Recording:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file)
        names = [name.strip() for name in next(rows, [])]
        columns = _columns(path, names, time, channels)
        at = None if time is None else names.index(time)
        return _of_rows(path, rows, columns, at, rate_hz)


def _of_rows(
    path: Path, rows: Iterable[Sequence[str]], columns: dict[str, int], at: int | None, rate_hz: float
) -> Recording:
    kept: list[list[float]] = []
    times: list[float] = []
    malformed = 0
    for row in rows:
        if not row:
            continue
        try:
            values = [_value(row[column]) for column in columns.values()]
            moment = len(times) / rate_hz if at is None else _seconds(row[at])
        except (ValueError, IndexError):
            malformed += 1
            continue
        if times and moment <= times[-1]:
            malformed += 1
            continue
        kept.append(values)
        times.append(moment)
    if not kept:
        raise ConfigError(
            f"{path} holds no line that can be read; {malformed} could not. Wanted is a header, then rows."
        )
    return _recorded(np.array(times), np.array(kept, np.float32), tuple(columns), at is not None, malformed)


def _of_parquet(path: Path, rate_hz: float, time: str | None, channels: Sequence[str]) -> Recording:
    from edge_sdk.sensors.pyarrow import column_names, read_columns

    names = column_names(path)
    columns = _columns(path, names, time, channels)
    arrays = read_columns(path, [*columns, *([] if time is None else [time])])
    samples = np.stack([arrays[name].astype(np.float32) for name in columns], axis=1)
    if len(samples) == 0:
        raise ConfigError(f"{path} holds no rows.")
    if time is None:
        return Recording(np.arange(len(samples)) / rate_hz, samples, tuple(columns))
    moments = arrays[time]
    if np.issubdtype(moments.dtype, np.datetime64):
        seconds = moments.astype("datetime64[ns]").astype(np.int64) / 1e9
    else:
        seconds = moments.astype(np.float64)
        seconds = seconds * _unit(float(np.nanmax(seconds)))
    with np.errstate(invalid="ignore"):
        rising = np.isfinite(seconds) & (seconds > np.maximum.accumulate(np.concatenate([[-np.inf], seconds[:-1]])))
    return _recorded(seconds[rising], samples[rising], tuple(columns), True, int(np.count_nonzero(~rising)))


def _recorded(
    times_s: NDArray[np.float64], samples: NDArray[np.float32], channels: tuple[str, ...], timed: bool, malformed: int
) -> Recording:
    is_epoch = timed and float(times_s[0]) > 1e8
    begun_ns = round(float(times_s[0]) * 1e6) * 1000 if is_epoch else None
    return Recording(times_s - times_s[0], samples, channels, begun_ns, malformed)


def _columns(path: Path, names: Sequence[str], time: str | None, channels: Sequence[str]) -> dict[str, int]:
    """Where each channel's column is."""
    for wanted in (*channels, *([] if time is None else [time])):
        if wanted not in names:
            raise ConfigError(f"{path} has no column {wanted!r}. {nearest(wanted, names)}")
    return {name: names.index(name) for name in (channels or [name for name in names if name != time])}


def _value(text: str) -> float:
    text = text.strip()
    return float(text) if text else math.nan


def _seconds(text: str) -> float:
    text = text.strip()
    try:
        number = float(text)
    except ValueError:
        moment = read_iso(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    if not math.isfinite(number):
        raise ValueError(f"{text!r} is no time")
    return number * _unit(number)


def _unit(number: float) -> float:
    """What one of such a number is, in seconds."""
    return next((unit for least, unit in _UNITS if abs(number) >= least), 1.0)
