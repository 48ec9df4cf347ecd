"""Time: nanoseconds since the Unix epoch, a monotonic twin, and whether the wall clock can be believed."""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_STA_UNSYNC = 0x0040  # <sys/timex.h>


class ClockState(str, Enum):
    """Whether the wall clock has been set by a time source since boot."""

    SYNCED = "synced"
    UNSYNCED = "unsynced"


class Clock(Protocol):
    """The only place that time comes from; the pure core takes times as arguments instead."""

    def wall_ns(self) -> int:
        """Nanoseconds since the Unix epoch; may jump."""

    def monotonic_ns(self) -> int:
        """Nanoseconds since an arbitrary start; never goes back within one boot."""

    def state(self) -> ClockState:
        """Whether `wall_ns` can be believed."""


class SystemClock:
    """The machine's clocks."""

    def wall_ns(self) -> int:
        """Nanoseconds since the Unix epoch, from ``CLOCK_REALTIME``."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Nanoseconds from ``CLOCK_MONOTONIC``."""
        return time.monotonic_ns()

    def state(self) -> ClockState:
        """Ask the kernel (``ntp_adjtime(3)``) whether a time daemon has synchronised the clock."""
        return _kernel_clock_state()


@dataclass
class ManualClock:
    """A clock that moves only when told to: for tests and for accelerated replay."""

    wall: int = 1_767_225_600_000_000_000
    monotonic: int = 0
    clock_state: ClockState = field(default=ClockState.SYNCED)

    def wall_ns(self) -> int:
        """Nanoseconds since the Unix epoch."""
        return self.wall

    def monotonic_ns(self) -> int:
        """Nanoseconds since the clock was made."""
        return self.monotonic

    def state(self) -> ClockState:
        """What it was told to be."""
        return self.clock_state

    def advance(self, seconds: float) -> None:
        """Let both clocks run on."""
        self.wall += round(seconds * 1e9)
        self.monotonic += round(seconds * 1e9)

    def step(self, seconds: float) -> None:
        """Jump the wall clock alone, as NTP or a battery does."""
        self.wall += round(seconds * 1e9)


def to_datetime(ns: int) -> datetime:
    """UTC time of `ns` nanoseconds since the epoch, cut to microseconds (what JSON carries)."""
    return _EPOCH + timedelta(microseconds=ns // 1000)


def from_datetime(moment: datetime) -> int:
    """Nanoseconds since the epoch of an aware `moment`; exact to the microsecond."""
    delta = moment - _EPOCH
    return ((delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds) * 1000


@lru_cache(maxsize=1)
def boot_id() -> str:
    """The kernel's id of this boot: monotonic times compare only within one."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"


class _Timex(ctypes.Structure):
    _fields_ = (
        ("modes", ctypes.c_uint),
        ("_pad", ctypes.c_long * 4),
        ("status", ctypes.c_int),
        ("_rest", ctypes.c_long * 40),
    )


def _kernel_clock_state() -> ClockState:
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        timex = _Timex()
        answer = libc.adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return ClockState.UNSYNCED
    return ClockState.UNSYNCED if answer < 0 or timex.status & _STA_UNSYNC else ClockState.SYNCED
