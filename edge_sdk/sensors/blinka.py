"""Blinka: the buses and pins that CircuitPython's drivers want, on Linux. Imported by name, when a bus is opened."""

from __future__ import annotations

import importlib
import importlib.util
import threading
from dataclasses import dataclass, field
from typing import Any

from edge_sdk.base.errors import MissingExtraError, SensorError, nearest

_EXTENDED = "adafruit_extended_bus"


@dataclass(frozen=True, slots=True)
class Bus:
    """An open bus, or none.

    Attributes:
        handle: What a driver takes; None = the driver needs no bus.
        lock: Held while a driver uses it: Blinka's own lock is not made for threads.
    """

    handle: Any
    lock: threading.Lock = field(default_factory=threading.Lock)


_open: dict[str, Bus] = {}
_opening = threading.Lock()


def check_installed(*, numbered: bool) -> None:
    """See whether what a bus needs is there; nothing is imported.

    Raises:
        MissingExtraError: It is not; says what to install.
    """
    if importlib.util.find_spec("board") is None:
        raise MissingExtraError("A sensor on I²C or SPI", extra="i2c")
    if numbered and importlib.util.find_spec(_EXTENDED) is None:
        raise MissingExtraError("`bus_number`", extra="i2c", package="adafruit-extended-bus")


def bus(kind: str, number: int | None) -> Bus:
    """The bus ``i2c`` or ``spi`` of this board, or its bus `number`; sensors of one bus share it.

    Raises:
        SensorError: This board has none, or Blinka does not know the board.
    """
    key = f"{kind}{'' if number is None else number}"
    with _opening:
        if key not in _open:
            _open[key] = Bus(_opened(kind, number))
        return _open[key]


def pin(name: str) -> Any:
    """A pin of this board by its name, as ``D5``. Raises SensorError where there is none."""
    board = _board()
    if not hasattr(board, name):
        known = [known for known in dir(board) if known[:1].isupper()]
        raise SensorError(f"This board has no pin {name!r}. {nearest(name, known)}")
    return getattr(board, name)


def chip_select(name: str) -> Any:
    """A pin as output that chooses the chip on an SPI bus. Raises SensorError."""
    return importlib.import_module("digitalio").DigitalInOut(pin(name))


def _opened(kind: str, number: int | None) -> Any:
    if number is not None:
        extended = importlib.import_module(_EXTENDED)
        return extended.ExtendedI2C(number) if kind == "i2c" else extended.ExtendedSPI(number, 0)
    return _board().I2C() if kind == "i2c" else _board().SPI()


def _board() -> Any:
    try:
        return importlib.import_module("board")
    except (NotImplementedError, RuntimeError) as error:
        raise SensorError(
            f"Blinka does not know this board: {error}. Is the bus enabled (raspi-config, device tree)?"
        ) from error
