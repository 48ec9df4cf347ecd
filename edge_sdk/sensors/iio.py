"""Industrial I/O: accelerometers, converters, light and air sensors that the kernel has drivers for, polled."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import SensorError
from edge_sdk.sensors import sysfs
from edge_sdk.sensors.poll import Polled, PollOptions

DEVICES = "bus/iio/devices"

# Type of channel: the unit that we give, and its value of one unit of the kernel's (Documentation/ABI/testing/
# sysfs-bus-iio): milli-units become units, the others stay.
_TYPES = {
    "accel": ("m/s²", 1.0),
    "angl": ("rad", 1.0),
    "anglvel": ("rad/s", 1.0),
    "capacitance": ("nF", 1.0),
    "concentration": ("%", 1.0),
    "current": ("A", 1e-3),
    "distance": ("m", 1.0),
    "electricalconductivity": ("S/m", 1.0),
    "gravity": ("m/s²", 1.0),
    "humidityrelative": ("%", 1e-3),
    "illuminance": ("lx", 1.0),
    "magn": ("G", 1.0),
    "power": ("W", 1e-3),
    "pressure": ("kPa", 1.0),
    "proximity": ("", 1.0),
    "resistance": ("Ω", 1.0),
    "temp": ("°C", 1e-3),
    "velocity": ("m/s", 1.0),
    "voltage": ("V", 1e-3),
}
_LETTERS = re.compile(r"[a-z]+")

DeviceName = Annotated[str, Meta(description="What its file `name` or `label` says (`bme280` …), or iio:deviceN.")]
ChannelNames = Annotated[
    tuple[str, ...],
    Meta(min_length=1, description="As the kernel names them, without `in_`: accel_x, voltage0, temp …, in order."),
]


def unit_of(channel: str) -> tuple[str, float]:
    """Unit of a channel, and its value of one unit of the kernel's; nothing and 1 where the type is not known."""
    matched = _LETTERS.match(channel)
    return _TYPES.get(matched[0] if matched else "", ("", 1.0))


def line_of(device: Path, channel: str) -> sysfs.Line:
    """How a channel's raw counts become its unit. Raises SensorError."""
    scale, offset = _attribute(device, channel, "scale"), _attribute(device, channel, "offset")
    return sysfs.Line(
        factor=unit_of(channel)[1] * (1.0 if scale is None else sysfs.read_number(scale)),
        offset=0.0 if offset is None else sysfs.read_number(offset),
    )


class Iio(Polled):
    """A device below ``/sys/bus/iio``, asked for each sample; SI units, but kPa for pressure and G for magnetism."""

    class Options(PollOptions, frozen=True, kw_only=True):
        """Which device, which channels."""

        device: DeviceName
        channels: ChannelNames
        sysfs: sysfs.SysfsPath = msgspec.field(default_factory=sysfs.mount)

    def __init__(self, name: str, options: Options, *, clock: Clock) -> None:
        units = [unit_of(channel)[0] for channel in options.channels]
        super().__init__(name, options, channels=options.channels, units=units, clock=clock)
        self._options = options

    def open(self) -> sysfs.Files:
        """Find the device and its files. Raises SensorError."""
        device = sysfs.find(self._options.sysfs / DEVICES, "iio:device*", self._options.device, by=("name", "label"))
        return sysfs.Files([_file(device, channel) for channel in self.channels], counters=self.counters)


def _file(device: Path, channel: str) -> tuple[Path, sysfs.Line]:
    """The file of a channel: processed where there is such a one, else raw counts with scale and offset."""
    processed, raw = device / f"in_{channel}_input", device / f"in_{channel}_raw"
    if processed.is_file():
        return processed, sysfs.Line(unit_of(channel)[1])
    if raw.is_file():
        return raw, line_of(device, channel)
    there = sorted(
        file.name.removeprefix("in_").removesuffix(ending)
        for ending in ("_input", "_raw")
        for file in device.glob(f"in_*{ending}")
    )
    raise SensorError(f"{device.name} has no channel {channel!r}; it has {', '.join(there) or 'none'}.")


def _attribute(device: Path, channel: str, name: str) -> Path | None:
    """The file of an attribute: the channel's own, or the one that all of its type share."""
    shared = re.sub(r"\d+", "", channel)
    kind = _LETTERS.match(channel)
    for owner in (channel, shared, kind[0] if kind else channel):
        if (path := device / f"in_{owner}_{name}").is_file():
            return path
    return None
