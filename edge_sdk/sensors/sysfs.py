"""Sysfs: small files of the kernel that hold one value each."""

from __future__ import annotations

import errno
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from edge_sdk.base.errors import SensorError

SysfsPath = Annotated[Path, Meta(description="Where sysfs is mounted; default: /sys.")]

# A zone that is switched off, a conversion that failed, a value that is not there yet: the device itself is well.
_NO_VALUE_NOW = {errno.EAGAIN, errno.EINVAL, errno.EIO, errno.ENODATA, errno.ETIMEDOUT}


def mount() -> Path:
    """Where sysfs is on any Linux."""
    return Path("/sys")


def read_word(path: Path) -> str:
    """What a file holds, without spaces around it.

    Raises:
        SensorError: It cannot be read; says what to do.
    """
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise SensorError(f"{path} cannot be read: {error.strerror}.{_cure(error)}") from error


def read_number(path: Path) -> float:
    """The number in a file; NaN when the device has no value at the moment.

    Raises:
        SensorError: The file is gone, or we may not read it.
    """
    try:
        return float(path.read_bytes())
    except ValueError:
        return math.nan
    except OSError as error:
        if error.errno in _NO_VALUE_NOW:
            return math.nan
        raise SensorError(f"{path} cannot be read: {error.strerror}.{_cure(error)}") from error


def write_word(path: Path, word: str) -> None:
    """Write a value.

    Raises:
        SensorError: It cannot be written; says what to do.
    """
    try:
        path.write_text(word, encoding="ascii")
    except OSError as error:
        raise SensorError(f"{word!r} cannot be written to {path}: {error.strerror}.{_cure(error)}") from error


def find(directory: Path, pattern: str, wanted: str, *, by: tuple[str, ...]) -> Path:
    """The one entry of `directory` whose own name, or the content of a file `by` in it, is `wanted`.

    Raises:
        SensorError: None is, or several are; the message names those that are there.
    """
    names: dict[Path, set[str]] = {}
    for entry in sorted(directory.glob(pattern)):
        names[entry] = {entry.name} | {read_word(entry / file) for file in by if (entry / file).is_file()}
    found = [entry for entry, known in names.items() if wanted in known]
    if len(found) == 1:
        return found[0]
    there = ", ".join("/".join(sorted(known)) for known in names.values()) or "none"
    if found:
        raise SensorError(
            f"{directory} has {len(found)} of {wanted!r}: name one of {', '.join(e.name for e in found)}."
        )
    raise SensorError(f"{directory} has no {wanted!r}; there is {there}. Is its driver loaded, its overlay enabled?")


@dataclass(frozen=True, slots=True)
class Line:
    """How what a file says becomes a value in its unit: ``factor · (number + offset)``."""

    factor: float = 1.0
    offset: float = 0.0


class Files:
    """Numbers of some files, as one row; nothing stays open in between.

    Args:
        files: Path and line of each channel.
        counters: Gets ``channels.unreadable``: values that a device did not have.
    """

    def __init__(self, files: Iterable[tuple[Path, Line]], *, counters: Counter[str]) -> None:
        self._files, self._counters = tuple(files), counters

    def sample(self) -> Sequence[float] | None:
        """One value for each file, NaN where there is none; None where there is none at all. Raises SensorError."""
        row = [(read_number(path) + line.offset) * line.factor for path, line in self._files]
        if silent := sum(1 for value in row if math.isnan(value)):
            self._counters["channels.unreadable"] += silent
        return row if silent < len(row) else None

    def close(self) -> None:
        """Nothing is open."""


def _cure(error: OSError) -> str:
    match error.errno:
        case errno.EACCES | errno.EPERM:
            return " Give the station's user the right to it, by group or udev rule."
        case errno.EBUSY:
            return " Somebody else uses the device: its buffer, perhaps."
        case errno.ENOENT | errno.ENODEV | errno.ENXIO:
            return " The device is gone, or has no such channel."
    return ""
