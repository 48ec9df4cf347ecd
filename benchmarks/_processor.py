"""Processor time of other programs, from /proc: of a process and all that it started."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def commands() -> list[tuple[int, str]]:
    """Every process and its command line."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append((int(place.parent.name), place.read_bytes().replace(b"\0", b" ").decode(errors="replace")))
    return found


def processor_s(root: int) -> float:
    """Seconds of a process, of those below it, and of those below it that have ended."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = place.read_text().rpartition(")")[2].split()
            pid = int(place.parent.name)
            parents[pid], ticks[pid] = int(fields[1]), sum(map(int, fields[11:15]))

    def is_below(pid: int) -> bool:
        return pid == root or (pid in parents and is_below(parents[pid]))

    return sum(spent for pid, spent in ticks.items() if is_below(pid)) / os.sysconf("SC_CLK_TCK")
