"""A line: bytes that come by themselves, from a serial port or a network socket, parsed to rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Protocol

import numpy as np
from msgspec import Meta

from edge_sdk.base import plugins
from edge_sdk.base.clock import Clock
from edge_sdk.contract.reading import Reading
from edge_sdk.sensors.base import Emit, Positive, Strict
from edge_sdk.sensors.frames import Parser
from edge_sdk.sensors.stamp import Stamp
from edge_sdk.sensors.worker import Worker


class LineOptions(Strict, frozen=True, kw_only=True):
    """Where the line is."""

    port: Annotated[
        str,
        Meta(description="/dev/serial/by-id/… (best: it stays the same), /dev/ttyUSB0, or socket://HOST:PORT."),
    ]
    baud: Annotated[int, Meta(gt=0, description="Speed, bits a second.")] = 9600
    rate_hz: Annotated[
        Positive | None, Meta(description="Samples a second, if they come steadily; default: when they come.")
    ] = None


class Port(Protocol):
    """An open line."""

    def read(self) -> bytes:
        """Wait for no longer than about half a second; give what came, perhaps nothing.

        Raises:
            OSError: The line is gone.
        """

    def close(self) -> None:
        """Let go; must not raise."""


class Line:
    """A sensor that talks by itself over a serial line; each kind brings its parser.

    Args:
        name: The sensor's name.
        options: Where the line is.
        parser: Bytes to rows.
        channels: Names of its channels.
        units: Their units, in order.
        clock: Where time comes from.
        block_s: Seconds between two rows in ordinary times, at most, where `rate_hz` is not known; 0 = not known.

    Raises:
        MissingExtraError: pyserial is not installed.
    """

    def __init__(
        self,
        name: str,
        options: LineOptions,
        *,
        parser: Parser,
        channels: Sequence[str],
        units: Sequence[str],
        clock: Clock,
        block_s: float = 0.0,
    ) -> None:
        try:
            from edge_sdk.sensors.serial import SerialPort
        except ModuleNotFoundError as error:
            raise plugins.missing_extra(f"Sensor {name!r}", error) from error
        self.name, self.channels, self.units = name, tuple(channels), tuple(units)
        self.rate_hz, self.block_s = options.rate_hz, block_s
        self._open_port: Callable[[], Port] = lambda: SerialPort(options.port, options.baud)
        self._parser, self._clock = parser, clock

    @property
    def counters(self) -> Counter[str]:
        """What the parser dropped."""
        return self._parser.counters

    async def run(self, emit: Emit) -> None:
        """Listen for ever.

        Raises:
            SensorError: The line is gone.
        """
        await Worker(self.name).pump(lambda: _Listener(self._open_port(), self._parser, self._stamp()), emit)

    def _stamp(self) -> Stamp:
        return Stamp(self.name, self._clock, self.rate_hz)


class _Listener:
    """An open line and its parser."""

    def __init__(self, port: Port, parser: Parser, stamp: Stamp) -> None:
        self._port, self._parser, self._stamp = port, parser, stamp
        parser.begin()

    def read(self) -> Iterable[Reading]:
        rows = self._parser.feed(self._port.read())
        return (self._stamp.reading(np.asarray(rows, np.float32)),) if rows else ()

    def close(self) -> None:
        self._port.close()
