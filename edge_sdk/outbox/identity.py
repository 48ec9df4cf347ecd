"""Who an outbox is, in a small file beside it: its epoch, and which numbers it may have given.

It outlives damage to the outbox itself: a number that was given once is never given again, whatever is lost.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path

RESERVE = 10_000
"""Numbers that are reserved at once: one small write per so many results."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Epoch and reservation.

    Attributes:
        epoch: Random id made with the outbox.
        reserved: No number above this one was ever given.
    """

    epoch: str
    reserved: int


def identity_path(outbox: Path) -> Path:
    """Where the identity of an outbox is."""
    return outbox.with_name(outbox.name + ".id")


def read_identity(outbox: Path) -> Identity | None:
    """The identity, or None when it is missing or damaged."""
    try:
        epoch, reserved, check = identity_path(outbox).read_text(encoding="ascii").split()
        if zlib.crc32(f"{epoch} {reserved}".encode()) != int(check, 16):
            return None
        return Identity(epoch, int(reserved))
    except (OSError, ValueError):
        return None


def write_identity(outbox: Path, identity: Identity) -> None:
    """Replace it in one step that survives a power cut.

    Raises:
        OSError: The medium refuses to write.
    """
    path = identity_path(outbox)
    aside = path.with_name(path.name + ".new")
    text = f"{identity.epoch} {identity.reserved}"
    with aside.open("w", encoding="ascii") as file:
        file.write(f"{text} {zlib.crc32(text.encode()):08x}\n")
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make renames and new files in it survive a power cut."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
