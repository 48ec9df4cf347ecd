"""Who an outbox is, in a small file beside it: its epochs, and which numbers it may have given.

It outlives damage to the outbox itself: a number that was given once is never given again, whatever is lost.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

from edge_sdk.base.durable import replace_file

RESERVE = 10_000
"""Numbers that are reserved at once: one small write per so many results."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Epochs and reservation.

    Attributes:
        epochs: How many rows are older than each, and its id; rising.
        reserved: No number above this one was ever given to a row.
    """

    epochs: tuple[tuple[int, str], ...]
    reserved: int


def identity_path(outbox: Path) -> Path:
    """Where the identity of an outbox is."""
    return outbox.with_name(outbox.name + ".id")


def read_identity(outbox: Path) -> Identity | None:
    """The identity, or None when it is missing or damaged."""
    try:
        epochs, reserved, check = identity_path(outbox).read_text(encoding="ascii").split()
        if zlib.crc32(f"{epochs} {reserved}".encode()) != int(check, 16):
            return None
        return Identity(tuple(map(_beginning, epochs.split(","))), int(reserved))
    except (OSError, ValueError):
        return None


def write_identity(outbox: Path, identity: Identity) -> None:
    """Replace it in one step that survives a power cut.

    Raises:
        OSError: The medium refuses to write.
    """
    path = identity_path(outbox)
    text = f"{','.join(f'{before}:{epoch}' for before, epoch in identity.epochs)} {identity.reserved}"
    replace_file(path, f"{text} {zlib.crc32(text.encode()):08x}\n".encode("ascii"))


def _beginning(text: str) -> tuple[int, str]:
    before, colon, epoch = text.rpartition(":")
    return (int(before) if colon else 0), epoch  # before version 3 there was one epoch, and only its id was written
