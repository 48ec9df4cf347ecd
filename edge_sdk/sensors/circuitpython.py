"""Sensors on I²C and SPI by Adafruit's CircuitPython drivers: hundreds of chips, each by the name of its class."""

from __future__ import annotations

import importlib
import importlib.util
import math
import re
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import ConfigError, MissingExtraError, SensorError, nearest
from edge_sdk.sensors import blinka
from edge_sdk.sensors.poll import Polled, PollOptions

# Units of the properties that all drivers share (CircuitPython's "Sensor properties and units").
UNITS = {
    "acceleration": "m/s²",
    "altitude": "m",
    "CO2": "ppm",
    "current": "mA",
    "distance": "cm",
    "eCO2": "ppm",
    "gyro": "rad/s",
    "humidity": "%",
    "lux": "lx",
    "magnetic": "µT",
    "pressure": "hPa",
    "relative_humidity": "%",
    "temperature": "°C",
    "TVOC": "ppb",
    "voltage": "V",
    "weight": "g",
}
_CLASS = re.compile(r"(?P<module>\w+(?:\.\w+)*)\.(?P<name>\w+)")
_MOST_FAILURES = 10  # some chips (DHT) fail now and then, and are well the next time
_PIN = "board."


class CircuitPython(Polled):
    """A chip on I²C, SPI or a pin, by its CircuitPython driver: ``adafruit_bme280.basic.Adafruit_BME280_I2C``."""

    class Options(PollOptions, frozen=True, kw_only=True):
        """Which driver, on which bus, which of its properties."""

        driver: Annotated[str, Meta(description="Class of the driver: adafruit_bme280.basic.Adafruit_BME280_I2C.")]
        channels: Annotated[
            dict[str, str],
            Meta(
                min_length=1, description="Channel: property of the driver, as temperature, acceleration.0, read().a."
            ),
        ]
        bus: Annotated[Literal["i2c", "spi", "none"], Meta(description="What its constructor takes first.")] = "i2c"
        bus_number: Annotated[
            Annotated[int, Meta(ge=0)] | None, Meta(description="The N of /dev/i2c-N; default: the board's own bus.")
        ] = None
        address: Annotated[int | None, Meta(description="Its address on I²C, as 0x76; default: the driver's.")] = None
        chip_select: Annotated[str | None, Meta(description="Pin that chooses it on SPI, as D5.")] = None
        arguments: Annotated[
            dict[str, Any],
            Meta(description="More arguments of its constructor, by name; board.D4 is a pin."),
        ] = msgspec.field(default_factory=dict)

    def __init__(self, name: str, options: Options, *, clock: Clock) -> None:
        matched = _CLASS.fullmatch(options.driver)
        if matched is None:
            raise ConfigError(f"Driver {options.driver!r} is no class; wanted is one like package.module.Class.")
        if (options.bus == "spi") != (options.chip_select is not None):
            raise ConfigError("`chip_select` and `bus: spi` go together. Give both, or neither.")
        self._module, self._class = matched["module"], matched["name"]
        _check_driver(options.driver, self._module)
        if options.bus != "none" or any(_is_pin(value) for value in options.arguments.values()):
            blinka.check_installed(numbered=options.bus_number is not None)
        units = [UNITS.get(path.partition(".")[0], "") for path in options.channels.values()]
        super().__init__(name, options, channels=tuple(options.channels), units=units, clock=clock)
        self._options = options

    def open(self) -> _Chip:
        """Open the bus and the driver. Raises SensorError."""
        options = self._options
        bus = blinka.Bus(None) if options.bus == "none" else blinka.bus(options.bus, options.bus_number)
        with bus.lock:
            kind = self._driver()
            first = [] if bus.handle is None else [bus.handle]
            if options.chip_select is not None:
                first.append(blinka.chip_select(options.chip_select))
            more = {
                key: blinka.pin(value.removeprefix(_PIN)) if _is_pin(value) else value
                for key, value in options.arguments.items()
            }
            if options.address is not None:
                more["address"] = options.address
            try:
                device = kind(*first, **more)
            except (ValueError, RuntimeError) as error:  # as drivers say that no chip answers
                raise SensorError(f"{options.driver}: {error}. Check wiring, power and address (i2cdetect).") from error
            except TypeError as error:
                raise SensorError(f"{options.driver}: {error}. Check `bus` and `arguments`.") from error
        return _Chip(device, options.channels, bus.lock, self.counters)

    def _driver(self) -> Any:
        try:
            module = importlib.import_module(self._module)
        except (ImportError, NotImplementedError, RuntimeError) as error:
            raise SensorError(f"Driver {self._module} cannot be imported: {error}.") from error
        if not hasattr(module, self._class):
            classes = [name for name, value in vars(module).items() if isinstance(value, type)]
            raise SensorError(f"{self._module} has no class {self._class!r}. {nearest(self._class, classes)}")
        return getattr(module, self._class)


class _Chip:
    """An open driver."""

    def __init__(self, device: Any, channels: Mapping[str, str], lock: threading.Lock, counters: Counter[str]) -> None:
        self._device, self._lock, self._counters = device, lock, counters
        self._paths = [path.split(".") for path in channels.values()]
        self._firsts = tuple(dict.fromkeys(first for first, *_ in self._paths))
        self._failures = 0

    def sample(self) -> Sequence[float] | None:
        """Read each property once. Raises SensorError."""
        try:
            with self._lock:
                roots = {first: self._root(first) for first in self._firsts}
        except RuntimeError as error:  # a checksum, a timing: try again
            self._failures += 1
            self._counters["samples.failed"] += 1
            if self._failures > _MOST_FAILURES:
                raise SensorError(f"{self._failures} readings one after the other failed: {error}.") from error
            return None
        self._failures = 0
        row = [_number(_below(roots[first], rest)) for first, *rest in self._paths]
        if silent := sum(1 for value in row if math.isnan(value)):
            self._counters["values.missing"] += silent
        return row if silent < len(row) else None

    def close(self) -> None:
        """Let the driver let go, where it can; the bus stays open for its other sensors."""
        close = getattr(self._device, "deinit", None)
        if callable(close):
            close()

    def _root(self, name: str) -> Any:
        try:
            return (
                getattr(self._device, name.removesuffix("()"))() if name.endswith("()") else getattr(self._device, name)
            )
        except AttributeError as error:
            there = [known for known in dir(self._device) if not known.startswith("_")]
            raise SensorError(f"{type(self._device).__name__} has no {name!r}. {nearest(name, there)}") from error


def _below(value: Any, path: Sequence[str]) -> Any:
    """An element of a tuple, an entry of a mapping, or an attribute."""
    for step in path:
        try:
            if isinstance(value, Mapping):
                value = value[step]
            elif step.isdecimal():
                value = value[int(step)]
            else:
                value = getattr(value, step)
        except (LookupError, TypeError, AttributeError):
            return None
    return value


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def _is_pin(value: object) -> bool:
    return isinstance(value, str) and value.startswith(_PIN)


def _check_driver(driver: str, module: str) -> None:
    """Whether the driver's package is there; nothing is imported."""
    package = module.partition(".")[0]
    if importlib.util.find_spec(package) is None:
        words = package.removeprefix("adafruit_").replace("_", "-")
        install = f"adafruit-circuitpython-{words}" if package.startswith("adafruit_") else package.replace("_", "-")
        raise MissingExtraError(f"Driver {driver}", extra="i2c", package=install)
