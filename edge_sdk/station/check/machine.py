"""The machine: who we are on it, its disk, its clock, its memory, its heat."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edge_sdk.base.clock import ClockState, SystemClock, to_datetime
from edge_sdk.station.check.finding import Finding, bad, note, well
from edge_sdk.station.mounts import mount_of
from edge_sdk.station.vitals import Gauges, Vitals

_IO_ERROR = 74
_LEAST_MEMORY_BYTES = 120_000_000
_EARLIEST_YEAR = 2026  # this program is not older
# SQLite's write-ahead log needs shared memory and true locks (https://www.sqlite.org/wal.html).
_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "ceph", "glusterfs"}
_FORGETFUL = {"tmpfs", "ramfs", "overlay", "aufs"}
_CARELESS = {"vfat", "msdos", "exfat", "ntfs", "fuseblk", "ntfs3"}


def check(state_directory: Path) -> Iterator[Finding]:
    """All of it."""
    yield from _user()
    yield from _disk(state_directory)
    yield _clock()
    yield from _memory()
    yield from heat(Gauges(state_directory).read())


def heat(vitals: Vitals) -> Iterator[Finding]:
    """Whether the processor is slowed down, for heat or for want of power."""
    if "under_voltage" in vitals.throttled_before:
        when = "now" if "under_voltage" in vitals.throttled else "since it was started"
        yield note(
            "power",
            f"the voltage was too low ({when}); the processor is slowed down, and the card may be damaged",
            "Take the power supply that is made for this board, a short thick cable, and fewer USB devices.",
        )
    others = [why for why in vitals.throttled if why != "under_voltage"]
    degrees = vitals.temperature_c
    if others:
        yield note(
            "heat",
            f"the processor is slowed down ({', '.join(others)})" + (f" at {degrees:.0f} °C" if degrees else ""),
            "Give it a heat sink, air or shade; or let the station work less: `governor: {}`.",
        )
    elif degrees is not None:
        limit = f", slowing down begins at {vitals.throttle_c:.0f} °C" if vitals.throttle_c else ""
        yield well("heat", f"{degrees:.0f} °C{limit}")


def _user() -> Iterator[Finding]:
    if os.geteuid() == 0:
        yield note(
            "user", "checked as root, who may do everything", "Check again as the service's user: sudo -u USER …"
        )


def _disk(directory: Path) -> Iterator[Finding]:
    there = directory
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        yield bad("disk", f"{there} is no directory", "Name another state_directory.", exit_code=_IO_ERROR)
        return
    try:
        with tempfile.TemporaryFile(dir=there) as probe:
            probe.write(b"probe")
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        yield bad(
            "disk",
            f"{there} cannot be written: {error.strerror}",
            "Give it to the service's user (sudo chown), or name another state_directory.",
            exit_code=_IO_ERROR,
        )
        return
    mount = mount_of(there)
    kind = mount.kind if mount else "unknown"
    if kind in _NETWORK:
        yield bad(
            "disk",
            f"{directory} is on a network file system ({kind})",
            "The outbox needs true locks: name a state_directory on a disk or card of this machine.",
            exit_code=_IO_ERROR,
        )
    elif kind in _FORGETFUL:
        yield note(
            "disk",
            f"{directory} is on {kind}, which forgets everything at power off",
            "Results that wait would be lost: name a state_directory on a disk or card.",
        )
    elif kind in _CARELESS:
        yield note(
            "disk",
            f"{directory} is on {kind}, which keeps no journal and no owners",
            "A power cut can damage it: name a state_directory on ext4, f2fs, btrfs or xfs.",
        )
    else:
        yield well("disk", f"{directory} can be written, {kind}")


def _clock() -> Finding:
    clock = SystemClock()
    now = to_datetime(clock.wall_ns())
    if now.year < _EARLIEST_YEAR:
        return note(
            "clock",
            f"it says {now:%Y-%m-%d}, which cannot be",
            "Results will say that they cannot be dated; TLS will refuse every certificate. Set the time: install "
            "systemd-timesyncd or chrony, or a clock with a battery.",
        )
    if clock.state() is ClockState.SYNCED:
        return well("clock", f"synchronised, {now:%Y-%m-%d %H:%M} UTC")
    return note(
        "clock",
        "not set by a time source; results will say so",
        "Install systemd-timesyncd or chrony, and let them reach a time server.",
    )


def _memory() -> Iterator[Finding]:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:  # no Linux: nothing to say
        return
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    available = kilobytes.get("MemAvailable", 0) * 1024
    if available < _LEAST_MEMORY_BYTES:
        yield note(
            "memory",
            f"{available / 1e6:.0f} MB are free, a station with small models wants about 90",
            "End what else runs here, or take smaller models.",
        )
    else:
        yield well("memory", f"{available / 1e6:.0f} MB are free")
