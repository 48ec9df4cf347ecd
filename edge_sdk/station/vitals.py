"""Vitals: heat, throttling, power, memory and what is written to the card, as the kernel's files tell them."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import msgspec

from edge_sdk.station.mounts import mount_of

_SECTOR_BYTES = 512  # of /sys/block/*/stat, whatever the disk's own are
_PROCESSOR = re.compile("cpu|processor|gpu", re.IGNORECASE)
# Bits of the Raspberry Pi's get_throttled: now; the same, 16 higher: since it was started.
_PI_BITS = ("under_voltage", "frequency_capped", "throttled", "soft_limit")


def board_name() -> str:
    """What the device tree calls this board; the architecture where there is none."""
    return _text(Path("/proc/device-tree/model")) or platform.machine()


class Vitals(msgspec.Struct, frozen=True, kw_only=True):
    """How the machine and this process do at one moment; None or absent = the kernel does not say.

    Attributes:
        temperatures_c: By thermal zone.
        throttle_c: Lowest temperature at which a zone begins to slow the processor down.
        throttled: Why the processor is slowed down now: ``under_voltage``, ``cooling`` …
        throttled_before: The same, at any time since the machine was started.
        rss_bytes: Resident memory of the process.
        cpu_s: Processor time of the process so far.
        open_files: Its open file descriptors.
        written_bytes: What the process has sent to disks so far.
        card_written_bytes: What has been written to the disk of the state directory since boot, by anybody.
        card_life_used: Worn share of that disk, 0 to 1, as an eMMC says it, in steps of 0.1.
    """

    temperatures_c: dict[str, float] = {}
    throttle_c: float | None = None
    throttled: tuple[str, ...] = ()
    throttled_before: tuple[str, ...] = ()
    rss_bytes: int | None = None
    cpu_s: float | None = None
    open_files: int | None = None
    written_bytes: int | None = None
    card_written_bytes: int | None = None
    card_life_used: float | None = None

    @property
    def temperature_c(self) -> float | None:
        """Of the hottest zone."""
        return max(self.temperatures_c.values(), default=None)


class Gauges:
    """Reads the vitals.

    Args:
        state_directory: Whose disk counts as the card.
        root: Where ``/proc`` and ``/sys`` are.
    """

    def __init__(self, state_directory: Path, *, root: Path = Path("/")) -> None:
        self._sys, self._self = root / "sys", root / "proc" / "self"
        mount = mount_of(state_directory, self._self / "mountinfo")
        self._disk = self._disk_of(mount.device) if mount else None

    def read(self) -> Vitals:
        """Everything, now."""
        zones = self._zones()
        now, before = self._throttled()
        io = dict(line.partition(":")[::2] for line in _text(self._self / "io").splitlines())
        stat = _text(self._self / "stat").rpartition(") ")[2].split()
        return Vitals(
            temperatures_c={name: degrees for name, (degrees, _) in zones.items()},
            throttle_c=min((trip for _, trip in zones.values() if trip is not None), default=None),
            throttled=now,
            throttled_before=before,
            rss_bytes=self._rss_bytes(),
            cpu_s=(int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK") if len(stat) > 12 else None,
            open_files=self._open_files(),
            written_bytes=int(io["write_bytes"]) if "write_bytes" in io else None,
            card_written_bytes=self._card_written_bytes(),
            card_life_used=self._card_life_used(),
        )

    def _zones(self) -> dict[str, tuple[float, float | None]]:
        """Temperature of each zone, and where it begins to slow down."""
        found: dict[str, tuple[float, float | None]] = {}
        for zone in sorted((self._sys / "class" / "thermal").glob("thermal_zone*")):
            degrees = _number(zone / "temp")
            if degrees is None:  # a zone that is switched off answers with an error
                continue
            name = _text(zone / "type") or zone.name
            if name in found:
                name = f"{name}-{zone.name.removeprefix('thermal_zone')}"
            trips = [
                _number(kind.with_name(kind.name.replace("_type", "_temp")))
                for kind in zone.glob("trip_point_*_type")
                if _text(kind) == "passive"
            ]
            lowest = min((trip for trip in trips if trip is not None and trip > 0), default=None)
            found[name] = degrees / 1000.0, None if lowest is None else lowest / 1000.0
        return found

    def _throttled(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        now: set[str] = set()
        before: set[str] = set()
        for file in (self._sys / "devices" / "platform").glob("*/*firmware/get_throttled"):
            flags = int(_text(file) or "0", 16)
            now |= {name for bit, name in enumerate(_PI_BITS) if flags >> bit & 1}
            before |= {name for bit, name in enumerate(_PI_BITS) if flags >> (16 + bit) & 1}
        for monitor in (self._sys / "class" / "hwmon").glob("hwmon*"):
            if _text(monitor / "name") == "rpi_volt" and _number(monitor / "in0_lcrit_alarm"):
                now.add("under_voltage")
            if any(_number(count) for count in monitor.glob("oc*_event_cnt")):  # Jetson: over-current
                before.add("over_current")
        for device in (self._sys / "class" / "thermal").glob("cooling_device*"):
            if _PROCESSOR.search(_text(device / "type")) and (_number(device / "cur_state") or 0) > 0:
                now.add("cooling")
        return tuple(sorted(now)), tuple(sorted(before | now))

    def _disk_of(self, device: str) -> Path | None:
        """The whole disk that a partition is on."""
        partition = self._sys / "dev" / "block" / device
        if not partition.exists():
            return None
        partition = partition.resolve()
        return partition.parent if (partition / "partition").exists() else partition

    def _card_written_bytes(self) -> int | None:
        fields = _text(self._disk / "stat").split() if self._disk else []
        return int(fields[6]) * _SECTOR_BYTES if len(fields) > 6 else None

    def _card_life_used(self) -> float | None:
        """An estimate by the eMMC itself (JEDEC JESD84-B51, DEVICE_LIFE_TIME_EST): 1 = to a tenth, 10 = all of it."""
        words = _text(self._disk / "device" / "life_time").split() if self._disk else []
        worst = max((int(word, 16) for word in words), default=0)
        return min(worst, 10) / 10 if worst else None

    def _rss_bytes(self) -> int | None:
        fields = _text(self._self / "statm").split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if len(fields) > 1 else None

    def _open_files(self) -> int | None:
        try:
            return len(os.listdir(self._self / "fd"))
        except OSError:
            return None


def _text(file: Path) -> str:
    """What a small file says; empty when it is not there, or does not answer."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


def _number(file: Path) -> int | None:
    try:
        return int(_text(file))
    except ValueError:
        return None
