"""The room: how large the outbox's file may be now. Its quota; on a disk that is full, what it has got."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

from edge_sdk.outbox.ballast import Ballast

log = logging.getLogger(__name__)

PAGE_BYTES = 4096
_RELAX_AFTER_S = 60.0


class Room:
    """Counts pages; throws off the ballast when the disk is full, and takes it on again when it has room.

    Args:
        path: The file.
        quota_bytes: What it may hold when the disk has room.
    """

    def __init__(self, path: Path, quota_bytes: int) -> None:
        self._files = path, path.with_name(path.name + "-wal")
        self._quota_pages = self._pages = quota_bytes // PAGE_BYTES
        self._ballast = Ballast(path)
        self._squeezed_ns: int | None = None

    @property
    def bytes(self) -> int:
        """What the file may hold now."""
        return self._pages * PAGE_BYTES

    @property
    def is_squeezed(self) -> bool:
        """Whether the disk is full, as far as we know."""
        return self._squeezed_ns is not None

    @property
    def file_bytes(self) -> int:
        """What the file and its log take on the disk."""
        return sum(map(_size, self._files))

    def open(self, db: sqlite3.Connection) -> None:
        """Bound the file and take the ballast on. Raises sqlite3.Error."""
        db.execute(f"PRAGMA max_page_count = {self._quota_pages}")
        self._ballast.take()

    def throw_off(self) -> None:
        """Drop the ballast: without it the file cannot even be opened."""
        self._ballast.drop()

    def free_bytes(self, db: sqlite3.Connection) -> int:
        """What may still be put into the file; below 0 when it is larger than it should be."""
        [pages] = db.execute("PRAGMA page_count").fetchone()
        [free] = db.execute("PRAGMA freelist_count").fetchone()
        return int((self._pages - pages + free) * PAGE_BYTES)

    def squeeze(self, db: sqlite3.Connection, now_ns: int) -> bool:
        """The disk is full: throw off the ballast, and go on within the size that we have got."""
        if self._squeezed_ns is not None:
            return False
        self._ballast.drop()
        try:
            # What the log holds gets its place in the file, and the log begins anew in its own.
            db.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
            [pages] = db.execute("PRAGMA page_count").fetchone()
        except sqlite3.Error as error:
            log.warning("disk is full", extra={"reason": str(error)})
            return False
        log.warning("disk is full: outbox keeps to its size", extra={"size_bytes": pages * PAGE_BYTES})
        self._squeezed_ns = now_ns
        self._pages = int(pages)
        return True

    def relax(self, now_ns: int) -> None:
        """Some time later, try whether the disk has room again."""
        if self._squeezed_ns is None or now_ns - self._squeezed_ns < _RELAX_AFTER_S * 1e9:
            return
        if self._ballast.take():
            self._squeezed_ns = None
            self._pages = self._quota_pages
        else:
            self._squeezed_ns = now_ns


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
