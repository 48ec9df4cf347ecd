"""Windows of the last 24 hours, and the int8 bundles of the local models that see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.pipeline import convert
from converters.recipe import Recipe
from edge_sdk.contract.manifest import Step, Windowing
from edge_sdk.contract.trust import SigningKey
from edge_sdk.windowing.windower import Windower
from examples.city_air.data import CHANNELS, HOUR_NS, Station
from examples.city_air.encoders import HIGH, LOW, Encoders

WINDOWING = Windowing(length=24, stride=1, rate_hz=1 / 3600, minimum_coverage=0.75)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Moments of several stations, with the windows that end then; a gap of a sensor is a row that is not `there`.

    Attributes:
        x: By kind of sensor: float32 ``(n, 24, channels)``; NaN where it is not there.
        there: By kind of sensor: bool ``(n,)``.
        y: float64 ``(n,)``, PM2.5 that is asked for.
    """

    x: dict[str, NDArray[np.float32]]
    there: dict[str, NDArray[np.bool_]]
    y: NDArray[np.float64]

    def take(self, rows: NDArray[np.intp]) -> Rows:
        """The moments that `rows` picks."""
        return Rows(
            {kind: x[rows] for kind, x in self.x.items()},
            {kind: there[rows] for kind, there in self.there.items()},
            self.y[rows],
        )

    def and_then(self, more: Rows) -> Rows:
        """These moments, and more behind them."""
        return Rows(
            {kind: np.concatenate([x, more.x[kind]]) for kind, x in self.x.items()},
            {kind: np.concatenate([there, more.there[kind]]) for kind, there in self.there.items()},
            np.concatenate([self.y, more.y]),
        )


class Cuts:
    """Every window of every station, cut once, as a station cuts them."""

    def __init__(self, stations: dict[str, Station], kinds: Sequence[str]) -> None:
        self.stations, self.kinds = stations, tuple(kinds)
        self._cut = {name: {kind: _cut(station, kind) for kind in kinds} for name, station in stations.items()}

    def rows(self, names: Sequence[str], from_ns: int, to_ns: int, ahead: int) -> Rows:
        """Hours of some stations in which PM2.5 is known and some sensor is there."""
        parts: list[Rows] = []
        for name in names:
            station = self.stations[name]
            t_ns = station.t_ns[station.rows(from_ns, to_ns)] + HOUR_NS
            x, there = self.at(name, t_ns)
            y = station.truth(t_ns, ahead)
            kept = np.isfinite(y) & np.array(list(there.values())).any(axis=0)
            parts.append(Rows(x, there, y).take(np.flatnonzero(kept)))
        return Rows(
            {kind: np.concatenate([part.x[kind] for part in parts]) for kind in self.kinds},
            {kind: np.concatenate([part.there[kind] for part in parts]) for kind in self.kinds},
            np.concatenate([part.y for part in parts]),
        )

    def at(
        self, name: str, t_ns: NDArray[np.int64]
    ) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.bool_]]]:
        """Windows of a station that end at those times, and which of them there are."""
        hours = (t_ns - self.stations[name].t_ns[0]) // HOUR_NS - 1
        x = {kind: cut[hours] for kind, cut in self._cut[name].items()}
        return x, {kind: np.isfinite(one[:, 0, 0]) for kind, one in x.items()}


def _cut(station: Station, kind: str) -> NDArray[np.float32]:
    windower = Windower(WINDOWING, sensor=kind, channels=len(CHANNELS[kind]))
    everything = slice(0, len(station.t_ns))
    made = [window for reading in station.readings(kind, everything) for window in windower.push(reading)]
    cut = np.full((len(station.t_ns), WINDOWING.length, len(CHANNELS[kind])), np.nan, dtype=np.float32)
    for window in made:
        if window.coverage >= WINDOWING.minimum_coverage:
            cut[(window.end_ns - station.t_ns[0]) // HOUR_NS - 1] = window.samples
    return cut


def bundle(encoders: Encoders, kind: str, rows: Rows, out: Path, key: SigningKey) -> None:
    """Write one encoder as Keras with its two outputs, convert it to int8 and sign it."""
    there = np.flatnonzero(rows.there[kind])
    pick = np.random.default_rng(1).choice(there, min(600, len(there)), replace=False)
    source = out.with_suffix(".keras")
    encoders.whole(kind).save(source)
    mean, std = encoders.scales[kind]
    recipe = Recipe(
        name=kind,
        task="regression",
        sensor=kind,
        channels=CHANNELS[kind],
        windowing=WINDOWING,
        preprocess=(
            Step(kind="standardize", options={"mean": mean.tolist(), "std": std.tolist()}),
            Step(kind="clip", options={"minimum": LOW, "maximum": HIGH}),
        ),
        unit="µg/m³",
    )
    options: dict[str, Any] = {"precision": ["int8"], "formats": ["tflite"], "key": key}
    x = rows.x[kind][pick]
    convert(source, recipe, out=out, calibration=x, evaluate=(x, rows.y[pick]), **options)
