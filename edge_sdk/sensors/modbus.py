"""Modbus: meters, inverters, controllers, over TCP or a serial line; registers as values."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from msgspec import Meta

from edge_sdk.base import plugins
from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import ConfigError
from edge_sdk.sensors.base import Strict
from edge_sdk.sensors.poll import Polled, PollOptions

if TYPE_CHECKING:
    from edge_sdk.sensors.pymodbus import ModbusClient, Table

_MOST_REGISTERS = 120  # the protocol allows 125
_MOST_BITS = 2000
_TYPES = {
    "int16": ">i2",
    "uint16": ">u2",
    "int32": ">i4",
    "uint32": ">u4",
    "int64": ">i8",
    "uint64": ">u8",
    "float32": ">f4",
    "float64": ">f8",
}


class Register(Strict, frozen=True, kw_only=True):
    """Where a value is; scale and offset stand in the sensor's `channels`."""

    address: Annotated[int, Meta(ge=0, le=65_535, description="From 0: what a manual calls 40001 is holding, 0.")]
    table: Annotated[Literal["holding", "input", "coil", "discrete"], Meta(description="Which table.")] = "holding"
    type: Annotated[
        Literal["int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"],
        Meta(description="How it is written; of no matter for coil and discrete."),
    ] = "uint16"
    word_order: Annotated[Literal["big", "little"], Meta(description="Which register comes first.")] = "big"
    not_available: Annotated[
        float | None, Meta(description="A value, in the register's unit, that means 'not measured': 32768, 65535 …")
    ] = None
    unit: Annotated[str, Meta(description="Unit of the value.")] = ""

    @property
    def is_bit(self) -> bool:
        """Whether it is one bit."""
        return self.table in ("coil", "discrete")

    @property
    def size(self) -> int:
        """Registers, or bits, that it takes."""
        return 1 if self.is_bit else np.dtype(_TYPES[self.type]).itemsize // 2

    def decode(self, words: Sequence[int]) -> float:
        """The value of its registers; NaN where it is not available."""
        if self.is_bit:
            value = float(words[0])
        else:
            ordered = words if self.word_order == "big" else words[::-1]
            value = float(np.array(ordered, ">u2").view(_TYPES[self.type])[0])
        if value == self.not_available or not math.isfinite(value):
            return math.nan
        return value


@dataclass(frozen=True, slots=True)
class Span:
    """Neighbouring registers of one table, read together."""

    table: Table
    address: int
    count: int


def spans(registers: Sequence[Register]) -> list[Span]:
    """As few requests as will do; what nobody asked for is not read, since many devices refuse it."""
    found: list[Span] = []
    for register in sorted(registers, key=lambda one: (one.table, one.address)):
        end = register.address + register.size
        last = found[-1] if found else None
        if last is not None and last.table == register.table and register.address <= last.address + last.count:
            count = max(last.count, end - last.address)
            if count <= (_MOST_BITS if register.is_bit else _MOST_REGISTERS):
                found[-1] = Span(last.table, last.address, count)
                continue
        found.append(Span(register.table, register.address, register.size))
    return found


class Modbus(Polled):
    """A Modbus device, over TCP (`host`) or a serial line (`serial`): each register a channel."""

    class Options(PollOptions, frozen=True, kw_only=True):
        """Where the device is, what to read."""

        registers: Annotated[dict[str, Register], Meta(min_length=1, description="Channel: where its value is.")]
        host: Annotated[str | None, Meta(description="Name or address of the device or gateway, for TCP.")] = None
        port: Annotated[int, Meta(gt=0, le=65_535, description="Its port.")] = 502
        serial: Annotated[str | None, Meta(description="/dev/serial/by-id/… or /dev/ttyUSB0, for RTU.")] = None
        baud: Annotated[int, Meta(gt=0, description="Speed of the serial line, bits a second.")] = 9600
        parity: Annotated[Literal["N", "E", "O"], Meta(description="Of the serial line: none, even, odd.")] = "N"
        stop_bits: Annotated[int, Meta(ge=1, le=2, description="Of the serial line, how many.")] = 1
        device_id: Annotated[int, Meta(ge=0, le=255, description="The device's number (unit, slave address).")] = 1
        timeout_s: Annotated[float, Meta(gt=0, le=60, description="How long an answer may take.")] = 1.0

    def __init__(self, name: str, options: Options, *, clock: Clock) -> None:
        try:
            from edge_sdk.sensors.pymodbus import ModbusClient
        except ModuleNotFoundError as error:
            raise plugins.missing_extra(f"Sensor {name!r}", error) from error
        if (options.host is None) == (options.serial is None):
            raise ConfigError("A Modbus device has either `host` or `serial`. Give one of them.")
        units = [register.unit for register in options.registers.values()]
        super().__init__(name, options, channels=tuple(options.registers), units=units, clock=clock)
        self._options, self._client = options, ModbusClient

    def open(self) -> _Device:
        """Connect. Raises SensorError."""
        options = self._options
        if options.host is not None:
            client = self._client.tcp(
                options.host, options.port, device_id=options.device_id, timeout_s=options.timeout_s
            )
        else:
            client = self._client.rtu(
                options.serial or "",
                baud=options.baud,
                parity=options.parity,
                stop_bits=options.stop_bits,
                device_id=options.device_id,
                timeout_s=options.timeout_s,
            )
        return _Device(client, options.registers, self.counters)


class _Device:
    """A connected device and what is read of it."""

    def __init__(self, client: ModbusClient, registers: Mapping[str, Register], counters: Counter[str]) -> None:
        self._client, self._counters = client, counters
        self._registers = tuple(registers.values())
        self._spans = spans(self._registers)

    def sample(self) -> Sequence[float] | None:
        """Read all registers. Raises SensorError."""
        words: dict[tuple[str, int], int] = {}
        for span in self._spans:
            values = self._client.read(span.table, span.address, span.count)
            words |= {(span.table, span.address + at): value for at, value in enumerate(values)}
        row = [
            register.decode([words[register.table, register.address + at] for at in range(register.size)])
            for register in self._registers
        ]
        if silent := sum(1 for value in row if math.isnan(value)):
            self._counters["values.missing"] += silent
        return row if silent < len(row) else None

    def close(self) -> None:
        """Hang up."""
        self._client.close()
