"""Drivers as Adafruit's are: a class that takes a bus and gives properties. The chip is a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Motion:
    """A chip without a bus of its own; its file holds temperature and acceleration, parted by spaces."""

    def __init__(self, file: str) -> None:
        self._file = Path(file)
        self.reads = 0
        if not self._file.exists():
            raise ValueError("No I2C device at address: 0x6a")

    def _numbers(self) -> list[float]:
        self.reads += 1
        words = self._file.read_text().split()
        if "bad" in words:
            raise RuntimeError("Checksum did not validate. Try again.")
        return [float(word) for word in words]

    @property
    def temperature(self) -> float | None:
        return self._numbers()[0] or None

    @property
    def acceleration(self) -> tuple[float, float, float]:
        _, x, y, z = self._numbers()
        return x, y, z

    def read(self) -> dict[str, float]:
        return {"reads": float(self.reads), "pm25 env": 7.0}


class OnBus:
    """A chip on a bus: it asks the bus that it is given, as drivers do through adafruit_bus_device."""

    def __init__(self, bus: Any, chip_select: Any = None, *, address: int = 0x77, power: Any = None) -> None:
        self._bus, self._address, self._select, self._power = bus, address, chip_select, power
        self.closed = False

    @property
    def pressure(self) -> float:
        return float(self._bus.ask(self._address))

    @property
    def pins(self) -> tuple[float, float]:
        return float(self._select is not None), float(self._power == 4)

    def deinit(self) -> None:
        self.closed = True
