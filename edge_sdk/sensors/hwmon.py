"""Hardware monitoring and thermal zones: temperatures, fans, voltages that the kernel knows by itself."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
from msgspec import Meta

from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import ConfigError, SensorError
from edge_sdk.sensors import sysfs
from edge_sdk.sensors.poll import Polled, PollOptions

# Kind of channel: unit, and its value of one count (Documentation/hwmon/sysfs-interface.rst).
_KINDS = {
    "temp": ("°C", 1e-3),
    "in": ("V", 1e-3),
    "fan": ("rpm", 1.0),
    "curr": ("A", 1e-3),
    "power": ("W", 1e-6),
    "energy": ("J", 1e-6),
    "humidity": ("%", 1e-3),
    "freq": ("Hz", 1.0),
}
_CHANNEL = re.compile(r"(?P<kind>[a-z]+)\d+")


class Hwmon(Polled):
    """A chip below ``/sys/class/hwmon``: temperatures in °C, fans in rpm, voltages in V, currents in A, power in W."""

    class Options(PollOptions, frozen=True, kw_only=True):
        """Which chip, which channels."""

        chip: Annotated[str, Meta(description="What its file `name` says (`cpu_thermal`, `ina219` …), or hwmonN.")]
        channels: Annotated[tuple[str, ...], Meta(min_length=1, description="temp1, fan1, in0, power1 …, in order.")]
        sysfs: sysfs.SysfsPath = msgspec.field(default_factory=sysfs.mount)

    def __init__(self, name: str, options: Options, *, clock: Clock) -> None:
        kinds = [_kind(channel) for channel in options.channels]
        super().__init__(name, options, channels=options.channels, units=[unit for unit, _ in kinds], clock=clock)
        self._options = options
        self._lines = [sysfs.Line(factor) for _, factor in kinds]

    def open(self) -> sysfs.Files:
        """Find the chip and its files. Raises SensorError."""
        chip = sysfs.find(self._options.sysfs / "class/hwmon", "hwmon*", self._options.chip, by=("name",))
        paths = [chip / f"{channel}_input" for channel in self.channels]
        if missing := [path for path in paths if not path.is_file()]:
            there = sorted(file.name.removesuffix("_input") for file in chip.glob("*_input"))
            raise SensorError(f"{missing[0]} is not there; {chip.name} has {', '.join(there) or 'no channels'}.")
        return sysfs.Files(zip(paths, self._lines, strict=True), counters=self.counters)


class Thermal(Polled):
    """Thermal zones below ``/sys/class/thermal``, in °C."""

    class Options(PollOptions, frozen=True, kw_only=True):
        """Which zones."""

        zones: Annotated[
            tuple[str, ...],
            Meta(
                min_length=1, description="What their files `type` say (`cpu-thermal` …), or thermal_zoneN, in order."
            ),
        ]
        sysfs: sysfs.SysfsPath = msgspec.field(default_factory=sysfs.mount)

    def __init__(self, name: str, options: Options, *, clock: Clock) -> None:
        super().__init__(name, options, channels=options.zones, units=["°C"] * len(options.zones), clock=clock)
        self._options = options

    def open(self) -> sysfs.Files:
        """Find the zones. Raises SensorError."""
        directory = self._options.sysfs / "class/thermal"
        zones = [sysfs.find(directory, "thermal_zone*", zone, by=("type",)) for zone in self.channels]
        return sysfs.Files([(zone / "temp", sysfs.Line(1e-3)) for zone in zones], counters=self.counters)


def _kind(channel: str) -> tuple[str, float]:
    matched = _CHANNEL.fullmatch(channel)
    if matched is None or matched["kind"] not in _KINDS:
        raise ConfigError(f"Channel {channel!r} is none of hwmon's; wanted is one of {', '.join(_KINDS)} and a number.")
    return _KINDS[matched["kind"]]
