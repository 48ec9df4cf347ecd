"""NMEA 0183: positions, speeds, wind, weather and depth from navigation receivers and ships' instruments."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

from msgspec import Meta

from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import ConfigError, nearest
from edge_sdk.sensors.base import Positive
from edge_sdk.sensors.frames import LineSplitter
from edge_sdk.sensors.line import Line, LineOptions

UNITS = {
    "latitude": "°",
    "longitude": "°",
    "altitude": "m",
    "speed": "m/s",
    "course": "°",
    "heading": "°",
    "fix": "",
    "satellites": "",
    "hdop": "",
    "wind_speed": "m/s",
    "wind_angle": "°",
    "air_temperature": "°C",
    "water_temperature": "°C",
    "pressure": "bar",
    "humidity": "%",
    "depth": "m",
}
_XDR = "xdr."
_KNOT = 0.514444
_SPEEDS = {"K": 1 / 3.6, "M": 1.0, "N": _KNOT, "S": 0.44704}
_SENTENCE = re.compile(rb"[$!]([^*]*)(?:\*([0-9A-Fa-f]{2}))?")
_LIMIT = 512  # the standard says 82; some receivers write more

Fields = Sequence[str]


def _number(fields: Fields, at: int, factor: float = 1.0) -> float:
    """A field; NaN where it is empty. Raises ValueError and IndexError."""
    value = float(fields[at]) * factor if fields[at] else math.nan
    if math.isinf(value):
        raise ValueError(fields[at])
    return value


def _degrees(fields: Fields, at: int) -> float:
    """``4807.038,N`` is 48 degrees and 7.038 minutes north."""
    value = _number(fields, at)
    whole = math.floor(value / 100) if math.isfinite(value) else 0
    return (whole + (value - 100 * whole) / 60) * (-1.0 if fields[at + 1] in ("S", "W") else 1.0)


def _gga(f: Fields) -> Mapping[str, float]:
    fix = {"fix": _number(f, 6), "satellites": _number(f, 7), "hdop": _number(f, 8)}
    if not fix["fix"] > 0:
        return fix | dict.fromkeys(("latitude", "longitude", "altitude"), math.nan)
    return fix | {"latitude": _degrees(f, 2), "longitude": _degrees(f, 4), "altitude": _number(f, 9)}


def _rmc(f: Fields) -> Mapping[str, float]:
    if f[2] != "A":
        return dict.fromkeys(("latitude", "longitude", "speed", "course"), math.nan)
    return {
        "latitude": _degrees(f, 3),
        "longitude": _degrees(f, 5),
        "speed": _number(f, 7, _KNOT),
        "course": _number(f, 8),
    }


def _mwv(f: Fields) -> Mapping[str, float]:
    if f[5] != "A":
        return {"wind_angle": math.nan, "wind_speed": math.nan}
    return {"wind_angle": _number(f, 1), "wind_speed": _number(f, 3, _SPEEDS[f[4]])}


def _xdr(f: Fields) -> Mapping[str, float]:
    """Transducers: type, value, unit, name, again and again."""
    return {f"{_XDR}{f[at + 3]}": _number(f, at + 1) for at in range(1, len(f) - 3, 4)}


_READERS: dict[str, Callable[[Fields], Mapping[str, float]]] = {
    "GGA": _gga,
    "RMC": _rmc,
    "GLL": lambda f: {"latitude": _degrees(f, 1), "longitude": _degrees(f, 3)},
    "VTG": lambda f: {"course": _number(f, 1), "speed": _number(f, 7, 1 / 3.6)},
    "HDT": lambda f: {"heading": _number(f, 1)},
    "MWV": _mwv,
    "MTW": lambda f: {"water_temperature": _number(f, 1)},
    "MDA": lambda f: {
        "pressure": _number(f, 3),
        "air_temperature": _number(f, 5),
        "water_temperature": _number(f, 7),
        "humidity": _number(f, 9),
    },
    "DBT": lambda f: {"depth": _number(f, 3)},
    "DPT": lambda f: {"depth": _number(f, 1)},
    "XDR": _xdr,
}


class NmeaParser:
    """Sentences to rows: one row a cycle, when each channel has been said, or when a sentence comes again.

    Args:
        channels: Names of `UNITS`, or ``xdr.NAME``, in order.
        needs_checksum: Whether a sentence without checksum is malformed.
    """

    def __init__(self, channels: Sequence[str], *, needs_checksum: bool = True) -> None:
        self.counters: Counter[str] = Counter()
        self._lines = LineSplitter(self.counters, limit=_LIMIT)
        self._channels, self._needs_checksum = tuple(channels), needs_checksum
        self._row: dict[str, float] = {}
        self._said: set[str] = set()

    def begin(self) -> None:
        """Forget what is pending."""
        self._lines.begin()
        self._row, self._said = {}, set()

    def feed(self, data: bytes) -> list[Sequence[float]]:
        """Take what came; give the rows that it completes."""
        rows: list[Sequence[float]] = []
        for line in self._lines.feed(data):
            fields = self._fields(line)
            if fields is None:
                continue
            kind = fields[0][-3:]
            if kind not in _READERS:
                self.counters["sentences.other"] += 1
                continue
            try:
                said = _READERS[kind](fields)
            except (ValueError, IndexError, KeyError):
                self.counters["lines.malformed"] += 1
                continue
            self._take(kind, said, rows)
        return rows

    def _fields(self, line: bytes) -> list[str] | None:
        """The fields of a sound sentence, without dollar sign and checksum."""
        matched = _SENTENCE.fullmatch(line)
        if matched is None or (matched[2] is None and self._needs_checksum):
            self.counters["lines.malformed"] += 1
            return None
        if matched[2] is not None:
            total = 0
            for byte in matched[1]:
                total ^= byte
            if total != int(matched[2], 16):
                self.counters["lines.bad_checksum"] += 1
                return None
        return matched[1].decode("ascii", errors="replace").split(",")

    def _take(self, kind: str, said: Mapping[str, float], rows: list[Sequence[float]]) -> None:
        wanted = {name: value for name, value in said.items() if name in self._channels}
        if not wanted:
            self.counters["sentences.other"] += 1
            return
        if kind in self._said:
            self.counters["rows.incomplete"] += 1
            self._finish(rows)
        self._said.add(kind)
        for name, value in wanted.items():
            if not (name in self._row and math.isnan(value)):
                self._row[name] = value
        if len(self._row) == len(self._channels):
            self._finish(rows)

    def _finish(self, rows: list[Sequence[float]]) -> None:
        row = [self._row.get(name, math.nan) for name in self._channels]
        self._row, self._said = {}, set()
        if all(math.isnan(value) for value in row):
            self.counters["rows.empty"] += 1  # a receiver without a fix
        else:
            rows.append(row)


class Nmea(Line):
    """A receiver or instrument that speaks NMEA 0183.

    Sentences GGA, RMC, GLL, VTG, HDT, MWV, MTW, MDA, DBT, DPT and XDR are read; a position is kept as float32, to a
    metre or two.
    """

    class Options(LineOptions, frozen=True, kw_only=True):
        """Which port, which channels."""

        baud: Annotated[int, Meta(gt=0, description="Speed, bits a second; 4800 for old ones.")] = 9600
        channels: Annotated[
            tuple[str, ...],
            Meta(min_length=1, description="latitude, longitude, altitude, speed, course …, or xdr.NAME, in order."),
        ] = ("latitude", "longitude", "speed")
        rate_hz: Annotated[Positive | None, Meta(description="Cycles of sentences, samples a second.")] = 1.0
        needs_checksum: Annotated[bool, Meta(description="Whether a sentence without checksum is malformed.")] = True

    def __init__(self, name: str, options: Options, *, clock: Clock) -> None:
        for channel in options.channels:
            if channel not in UNITS and not channel.startswith(_XDR):
                raise ConfigError(f"NMEA has no channel {channel!r}. {nearest(channel, UNITS)} Or write xdr.NAME.")
        super().__init__(
            name,
            options,
            parser=NmeaParser(options.channels, needs_checksum=options.needs_checksum),
            channels=options.channels,
            units=[UNITS.get(channel, "") for channel in options.channels],
            clock=clock,
        )
