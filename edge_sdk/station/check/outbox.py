"""The outbox: whether it can be opened, and whether its quota fits onto the disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from edge_sdk.base.errors import EdgeError
from edge_sdk.config.station import StationConfig
from edge_sdk.outbox.sqlite_file import lock
from edge_sdk.station.assembly import OUTBOX_FILE
from edge_sdk.station.check.finding import Finding, bad, note, well

_CONFIG = 78
_IO_ERROR = 74
_LEAST_QUOTA_BYTES = 128 * 1024  # the outbox refuses less
_LOG_BYTES = 2_000_000
_LEAST_FREE_BYTES = 64_000_000


def check(config: StationConfig) -> Iterator[Finding]:
    """Whether it can be opened, and whether it fits. Nothing is made: root would make files that are root's."""
    file = config.state_directory / OUTBOX_FILE
    there = config.state_directory
    while not there.exists() and there != there.parent:
        there = there.parent
    quota_bytes = round(config.outbox.quota_mb * 1e6)
    if quota_bytes < _LEAST_QUOTA_BYTES:
        yield bad(
            "outbox", f"quota_mb is {config.outbox.quota_mb:g}", "Give it at least 1; 256 is usual.", exit_code=_CONFIG
        )
        return
    if not there.is_dir():  # told with the disk
        return
    free = shutil.disk_usage(there).free
    held = file.stat().st_size if file.exists() else 0
    wanted = max(0, quota_bytes - held) + _LOG_BYTES
    if free < min(wanted, _LEAST_FREE_BYTES):
        yield bad(
            "outbox",
            f"{there} has {free / 1e6:.0f} MB free",
            "Make room, or name a state_directory on a larger disk.",
            exit_code=_IO_ERROR,
        )
        return
    if free < wanted:
        yield note(
            "outbox",
            f"it may grow by {wanted / 1e6:.0f} MB, and {there} has {free / 1e6:.0f} MB free",
            "Results will be given up before the quota is reached: lower outbox.quota_mb, or make room.",
        )
    if file.exists():
        try:
            with lock(file):
                pass
        except EdgeError:
            yield note(
                "outbox",
                f"{file} is open in another process: a station runs here",
                "Nothing to do if that is the service; a second one would not start.",
            )
            return
        yield well("outbox", f"{file}, {held / 1e6:.1f} of {quota_bytes / 1e6:.0f} MB")
    else:
        yield well("outbox", f"will be made in {config.state_directory}, up to {quota_bytes / 1e6:.0f} MB")
