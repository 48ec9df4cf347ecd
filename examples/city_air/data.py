"""Beijing air: hourly gases, weather and particles of several stations, 2013 to 2017.

Chen 2017, UCI Machine Learning Repository 501, https://doi.org/10.24432/C5RK5G (CC BY 4.0).
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_sdk.contract.manifest import Channel
from edge_sdk.contract.reading import Reading

HOUR_NS = 3_600_000_000_000
_CLOCK = tuple(Channel(name=name) for name in ("hour_sin", "hour_cos", "year_sin", "year_cos"))
CHANNELS: dict[str, tuple[Channel, ...]] = {
    "gas": (*(Channel(name=name, unit="µg/m³") for name in ("SO2", "NO2", "CO", "O3")), *_CLOCK),
    "weather": (
        Channel(name="TEMP", unit="°C"),
        Channel(name="PRES", unit="hPa"),
        Channel(name="DEWP", unit="°C"),
        Channel(name="RAIN", unit="mm"),
        Channel(name="WSPM", unit="m/s"),
        Channel(name="wind_east"),
        Channel(name="wind_north"),
        *_CLOCK,
    ),
    "history": (*(Channel(name=name, unit="µg/m³") for name in ("PM2.5", "PM10")), *_CLOCK),
}
"""What each kind of sensor measures; the history is that of a particle sensor, where there is one."""

_MEASURED = ("PM2.5", "PM10", "SO2", "NO2", "CO", "O3", "TEMP", "PRES", "DEWP", "RAIN", "WSPM")
_POINTS = ("N", "NNE", "NE", "ENE", "E", "ESE", "SE", "SSE", "S", "SSW", "SW", "WSW", "W", "WNW", "NW", "NNW")


@dataclass(frozen=True, slots=True, eq=False)
class Station:
    """One station's recording; NaN = the sensor gave nothing.

    Attributes:
        name: Its name.
        t_ns: int64 ``(n,)``, the hours, taken as UTC.
        samples: By kind of sensor: float32 ``(n, channels)``.
        pm25: float64 ``(n,)``, µg/m³.
    """

    name: str
    t_ns: NDArray[np.int64]
    samples: dict[str, NDArray[np.float32]]
    pm25: NDArray[np.float64]

    def rows(self, from_ns: int, to_ns: int) -> slice:
        """The hours between two times."""
        return slice(int(np.searchsorted(self.t_ns, from_ns)), int(np.searchsorted(self.t_ns, to_ns)))

    def readings(self, kind: str, rows: slice, *, hours: int = 24) -> Iterator[Reading]:
        """So many hours at a time, as a driver would hand them over."""
        samples = self.samples[kind][rows]
        times = self.t_ns[rows]
        for low in range(0, len(times), hours):
            yield Reading(kind, samples[low : low + hours], int(times[low]), rate_hz=1 / 3600)

    def truth(self, t_ns: NDArray[np.int64], ahead: int) -> NDArray[np.float64]:
        """PM2.5 `ahead` hours after the last hour of windows that end at those times; NaN where not measured."""
        hours = (t_ns - self.t_ns[0]) // HOUR_NS - 1 + ahead
        known = (hours >= 0) & (hours < len(self.pm25))
        return np.where(known, self.pm25[np.where(known, hours, 0)], np.nan)


def stations(folder: Path) -> list[str]:
    """Names of the stations in a folder."""
    return sorted(path.name.split("_")[2] for path in folder.glob("PRSA_Data_*.csv*"))


def load(folder: Path, name: str) -> Station:
    """Read one station's file, ``.csv`` or ``.csv.gz``.

    Raises:
        FileNotFoundError: It is not there; the message says where it comes from.
    """
    found = sorted(folder.glob(f"PRSA_Data_{name}_*.csv*"))
    if not found:
        raise FileNotFoundError(
            f"No PRSA_Data_{name}_*.csv in {folder}. Get it from https://archive.ics.uci.edu/dataset/501 "
            "and name its folder with --data."
        )
    raw = found[0].read_bytes()
    text = (gzip.decompress(raw) if found[0].suffix == ".gz" else raw).decode("utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    hours = np.array(
        [f"{row['year']}-{int(row['month']):02}-{int(row['day']):02}T{int(row['hour']):02}" for row in rows],
        dtype="datetime64[h]",
    )
    t_ns = hours.astype("datetime64[ns]").astype(np.int64)
    columns = {column: _numbers(rows, column) for column in _MEASURED}
    angle = np.array([2 * np.pi * _POINTS.index(row["wd"]) / 16 if row["wd"] in _POINTS else np.nan for row in rows])
    columns["wind_east"], columns["wind_north"] = np.sin(angle), np.cos(angle)
    hour = 2 * np.pi * (t_ns // HOUR_NS % 24) / 24
    year = 2 * np.pi * (t_ns / HOUR_NS / 24 / 365.2425 % 1)
    columns |= {"hour_sin": np.sin(hour), "hour_cos": np.cos(hour), "year_sin": np.sin(year), "year_cos": np.cos(year)}
    samples = {
        kind: np.stack([columns[channel.name] for channel in channels], axis=1).astype(np.float32)
        for kind, channels in CHANNELS.items()
    }
    return Station(name, t_ns, samples, columns["PM2.5"])


def _numbers(rows: list[dict[str, str]], column: str) -> NDArray[np.float64]:
    return np.array([float("nan") if row[column] == "NA" else float(row[column]) for row in rows])
