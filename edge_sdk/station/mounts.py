"""Mounts: on which file system and which block device a directory is."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of ``/proc/self/mountinfo`` (proc(5)).

    Attributes:
        point: Where it is mounted.
        kind: File system: ``ext4``, ``tmpfs``, ``nfs4`` …
        source: What is mounted, such as ``/dev/mmcblk0p2``.
        device: Major and minor number of the block device, ``179:2``.
        is_read_only: Nothing can be written there.
    """

    point: Path
    kind: str
    source: str
    device: str
    is_read_only: bool


def mounts(table: Path = Path("/proc/self/mountinfo")) -> list[Mount]:
    """Everything that is mounted, in order; empty where the kernel does not say."""
    try:
        lines = table.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, tail = before.split(), after.split()
        if len(fields) < 6 or len(tail) < 2:
            continue
        point = _OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4])
        found.append(Mount(Path(point), tail[0], tail[1], fields[2], "ro" in fields[5].split(",")))
    return found


def mount_of(directory: Path, table: Path = Path("/proc/self/mountinfo")) -> Mount | None:
    """The mount that holds a directory; None where the kernel does not say."""
    here = Path(os.path.realpath(directory))
    best: Mount | None = None
    for mount in mounts(table):
        deeper = best is None or len(mount.point.parts) >= len(best.point.parts)
        if deeper and (mount.point == here or mount.point in here.parents):
            best = mount
    return best
