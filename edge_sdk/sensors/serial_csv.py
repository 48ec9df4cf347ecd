"""Lines of numbers over a serial line: what an Arduino or an ESP prints."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import ConfigError
from edge_sdk.sensors.frames import LineSplitter
from edge_sdk.sensors.line import Line, LineOptions
from edge_sdk.sensors.pick import Pick


class CsvParser:
    """Lines of numbers to rows; an empty cell is not measured.

    Args:
        columns: Names by position; ``_`` is passed over. A line with another number of cells is malformed.
        delimiter: What stands between them; a space means any white space.
        limit: Bytes of the longest line.
    """

    def __init__(self, columns: Sequence[str], delimiter: str = ",", *, limit: int = 4096) -> None:
        self.counters: Counter[str] = Counter()
        self._lines = LineSplitter(self.counters, limit=limit, passes_first=True)
        self._n = len(columns)
        self._taken = [index for index, name in enumerate(columns) if name != "_"]
        self._delimiter = None if delimiter.isspace() and delimiter != "\t" else delimiter

    def begin(self) -> None:
        """Forget what is pending."""
        self._lines.begin()

    def feed(self, data: bytes) -> list[Sequence[float]]:
        """Take what came; give a row for each good line."""
        rows: list[Sequence[float]] = []
        for line in self._lines.feed(data):
            if line.startswith(b"#"):
                self.counters["lines.comment"] += 1
            elif (row := self._row(line)) is None:
                self.counters["lines.malformed"] += 1
            else:
                rows.append(row)
        return rows

    def _row(self, line: bytes) -> list[float] | None:
        cells = line.decode("utf-8", errors="replace").split(self._delimiter)
        if len(cells) != self._n:
            return None
        try:
            row = [float(cell) if (cell := cells[at].strip()) else math.nan for at in self._taken]
        except ValueError:
            return None
        return None if any(math.isinf(value) for value in row) else row


class SerialCsv(Line):
    """Lines of numbers, each cell a channel: ``21.5,40.2,1013``. Lines with ``#`` in front are comments."""

    class Options(LineOptions, frozen=True, kw_only=True):
        """Which port, what stands in a line."""

        baud: Annotated[int, Meta(gt=0, description="Speed, bits a second.")] = 115_200
        columns: Annotated[
            tuple[str, ...],
            Meta(min_length=1, description="Names of the cells of a line; '_' passes one over."),
        ]
        units: Annotated[tuple[str, ...], Meta(description="Units of the channels, in order; default: not said.")] = ()
        delimiter: Annotated[str, Meta(min_length=1, description="What stands between; ' ' = any white space.")] = ","

    def __init__(self, name: str, options: Options, *, clock: Clock) -> None:
        channels = [column for column in options.columns if column != "_"]
        units = options.units or ("",) * len(channels)
        if not channels or len(set(channels)) != len(channels) or len(units) != len(channels):
            raise ConfigError(
                f"Columns {', '.join(options.columns)} with {len(units)} units; wanted are names that differ, "
                "and a unit for each or none at all."
            )
        parser = CsvParser(options.columns, options.delimiter)
        super().__init__(name, options, parser=parser, channels=channels, units=units, clock=clock)


class JsonParser:
    """Lines of JSON to rows.

    Args:
        channels: Where each channel is in the document.
    """

    def __init__(self, channels: Mapping[str, str]) -> None:
        self.counters: Counter[str] = Counter()
        self._lines = LineSplitter(self.counters)
        self._pick = Pick(channels, counters=self.counters)

    def begin(self) -> None:
        """Forget what is pending."""
        self._lines.begin()

    def feed(self, data: bytes) -> list[Sequence[float]]:
        """Take what came; give a row for each good line."""
        rows: list[Sequence[float]] = []
        for line in self._lines.feed(data):
            try:
                document = msgspec.json.decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                self.counters["lines.malformed"] += 1
                continue
            row = self._pick.row(document)
            if row is not None:
                rows.append(row)
        return rows


class SerialJson(Line):
    """A JSON document in each line: ``{"air": {"temp": 21.5}}``."""

    class Options(LineOptions, frozen=True, kw_only=True):
        """Which port, where the values are."""

        baud: Annotated[int, Meta(gt=0, description="Speed, bits a second.")] = 115_200
        channels: Annotated[
            dict[str, str], Meta(min_length=1, description="Channel: path of its value in the document, as air.temp.")
        ]

    def __init__(self, name: str, options: Options, *, clock: Clock) -> None:
        units = ("",) * len(options.channels)
        parser = JsonParser(options.channels)
        super().__init__(name, options, parser=parser, channels=tuple(options.channels), units=units, clock=clock)
