"""Health: what this machine feels like at the moment."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def board_name() -> str:
    """What the device tree calls this board; the architecture where there is none."""
    try:
        return Path("/proc/device-tree/model").read_text(encoding="ascii", errors="replace").strip("\x00\n ")
    except OSError:
        return platform.machine()


def temperature_c() -> float | None:
    """The hottest thermal zone, °C; None where there is none."""
    hottest: float | None = None
    for zone in Path("/sys/class/thermal").glob("thermal_zone*/temp"):
        try:
            reading = int(zone.read_text(encoding="ascii")) / 1000.0
        except (OSError, ValueError):  # a zone that is switched off answers with an error
            continue
        hottest = reading if hottest is None else max(hottest, reading)
    return hottest


def rss_bytes() -> int | None:
    """Resident memory of this process, bytes; None where the kernel does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
