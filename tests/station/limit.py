"""A limit on memory that the kernel keeps: a control group where we may make one."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_V1, _V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Limit:
    """A limit under which processes can be started.

    Attributes:
        kind: ``cgroup``: all memory, as systemd's MemoryMax; ``data``: what the process itself allocates.
        enter: To be called in the new process.
        peak_bytes: The most that was in use; None where the kernel does not say.
    """

    kind: str
    enter: Callable[[], None]
    peak_bytes: Callable[[], int | None]


@contextmanager
def memory_limit(limit_bytes: int) -> Iterator[Limit]:
    """A limit of so many bytes: the hardest that we may set here."""
    for parent, limit_file, peak_file in (
        (_V1, "memory.limit_in_bytes", "memory.max_usage_in_bytes"),
        (_V2, "memory.max", "memory.peak"),
    ):
        group = parent / f"edge-sdk-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:  # not ours to make, or another version of control groups
            continue
        try:
            (group / limit_file).write_text(str(limit_bytes))
        except OSError:
            group.rmdir()
            continue
        try:
            yield Limit(
                "cgroup",
                lambda group=group: _write(group / "cgroup.procs", str(os.getpid())),  # type: ignore[misc]
                lambda file=group / peak_file: int(file.read_text()) if file.exists() else None,  # type: ignore[misc]
            )
        finally:
            group.rmdir()
        return
    yield Limit("data", lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes)), lambda: None)


def _write(file: Path, text: str) -> None:
    file.write_text(text)
