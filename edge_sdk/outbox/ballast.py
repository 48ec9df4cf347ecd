"""Ballast: disk space kept in hand, so that a disk that others fill does not stop the outbox.

SQLite cannot finish a checkpoint, and so cannot even give up rows, when the file has no room to grow. The ballast
is thrown off then, and taken on again when there is room.
"""

from __future__ import annotations

import os
from pathlib import Path

BALLAST_BYTES = 1280 * 1024
"""As much as the log may hold, and a little more."""


class Ballast:
    """A file of allocated, unused blocks beside the outbox."""

    def __init__(self, outbox: Path) -> None:
        self._path = outbox.with_name(outbox.name + ".ballast")

    def take(self) -> bool:
        """Allocate it; False = there is no room."""
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(handle, 0, BALLAST_BYTES)
            finally:
                os.close(handle)
        except OSError:
            self.drop()
            return False
        return True

    def drop(self) -> None:
        """Give its blocks back."""
        self._path.unlink(missing_ok=True)
