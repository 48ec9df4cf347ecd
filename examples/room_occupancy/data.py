"""Room occupancy: seven nodes in one room, one row about every 30 s, how many people were there.

Singh & Chaudhari 2018, UCI Machine Learning Repository 864, https://doi.org/10.24432/C5P605 (CC BY 4.0).
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_sdk.base.clock import from_datetime
from edge_sdk.contract.manifest import Channel
from edge_sdk.contract.reading import Reading

LABELS = ("0", "1", "2", "3")
CHANNELS: dict[str, tuple[Channel, ...]] = {
    "temperature": tuple(Channel(name=f"S{i}_Temp", unit="°C") for i in range(1, 5)),
    "light": tuple(Channel(name=f"S{i}_Light", unit="lux", minimum=0.0) for i in range(1, 5)),
    "sound": tuple(Channel(name=f"S{i}_Sound", unit="dBV") for i in range(1, 5)),
    "co2": (Channel(name="S5_CO2", unit="ppm", minimum=0.0), Channel(name="S5_CO2_Slope")),
    "pir": (Channel(name="S6_PIR"), Channel(name="S7_PIR")),
}
_BLOCK = 2


@dataclass(frozen=True, slots=True, eq=False)
class Room:
    """The recording.

    Attributes:
        t_ns: int64 ``(n,)``, event time, taken as UTC.
        samples: By kind of sensor: float32 ``(n, channels)``; sound is a level in dBV.
        people: int64 ``(n,)``, how many people were there, 0 to 3.
    """

    t_ns: NDArray[np.int64]
    samples: dict[str, NDArray[np.float32]]
    people: NDArray[np.int64]

    @property
    def days(self) -> list[str]:
        """The days, ``YYYY-MM-DD``."""
        return sorted(set(day_of(self.t_ns).tolist()))

    def readings(self, kind: str, days: list[str]) -> Iterator[Reading]:
        """Blocks of one sensor on those days, as its driver would hand them over."""
        for low in range(0, len(self.t_ns), _BLOCK):
            rows = np.flatnonzero(np.isin(day_of(self.t_ns[low : low + _BLOCK]), days)) + low
            if len(rows):
                times = self.t_ns[rows]
                yield Reading(kind, self.samples[kind][rows], int(times[0]), times_ns=times)

    def truth(self, t_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many people were there at those times: what the last row before says."""
        return self.people[np.maximum(np.searchsorted(self.t_ns, t_ns, side="left") - 1, 0)]


def day_of(t_ns: NDArray[np.int64]) -> NDArray[np.str_]:
    """The day of each event time, ``YYYY-MM-DD``."""
    return (t_ns - 1).astype("datetime64[ns]").astype("datetime64[D]").astype(np.str_)


def load(folder: Path) -> Room:
    """Read ``Occupancy_Estimation.csv`` or ``.csv.gz``.

    Raises:
        FileNotFoundError: Neither is there; the message says where it comes from.
    """
    for name in ("Occupancy_Estimation.csv", "Occupancy_Estimation.csv.gz"):
        path = folder / name
        if path.exists():
            break
    else:
        raise FileNotFoundError(
            f"No Occupancy_Estimation.csv in {folder}. Get it from https://archive.ics.uci.edu/dataset/864 "
            "and name its folder with --data."
        )
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    times = [datetime.strptime(f"{row['Date']} {row['Time']} +0000", "%Y/%m/%d %H:%M:%S %z") for row in rows]
    samples = {
        kind: np.array([[float(row[channel.name]) for channel in channels] for row in rows], dtype=np.float32)
        for kind, channels in CHANNELS.items()
    }
    samples["sound"] = (20 * np.log10(samples["sound"] + 0.02)).astype(np.float32)
    return Room(
        t_ns=np.array([from_datetime(time.astimezone(timezone.utc)) for time in times], dtype=np.int64),
        samples=samples,
        people=np.array([int(row["Room_Occupancy_Count"]) for row in rows], dtype=np.int64),
    )
