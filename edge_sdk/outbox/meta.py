"""What the outbox's file says of itself, beside its rows; a flipped bit in it must not cost or double a result."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

SET = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"


@dataclass(frozen=True, slots=True)
class Meta:
    """The file's own numbers.

    Attributes:
        epochs: How many rows are older than each epoch, and its id; empty when it is missing or damaged.
        newest: Highest number known when the file was closed or made.
        dropped: Rows given up since it was made.
        damaged: Rows found unreadable since it was made.
        receipted: Ranges that need not be sent any more, though they are in the file.
    """

    epochs: tuple[tuple[int, str], ...]
    newest: int = 0
    dropped: int = 0
    damaged: int = 0
    receipted: tuple[tuple[int, int], ...] = ()


def read_meta(db: sqlite3.Connection) -> Meta:
    """Read it; what is damaged reads as if it were not there. Raises sqlite3.Error."""
    found: dict[str, Any] = dict(db.execute("SELECT key, value FROM meta").fetchall())
    return Meta(
        _epochs(found),
        newest=_number(found, "newest"),
        dropped=_number(found, "dropped"),
        damaged=_number(found, "damaged"),
        receipted=_spans(found.get("receipted")),
    )


def epochs_value(epochs: Sequence[tuple[int, str]]) -> tuple[str, object]:
    """What `SET` takes for epochs."""
    return "epochs", _checked(epochs)


def receipted_value(spans: Sequence[tuple[int, int]]) -> tuple[str, object]:
    """What `SET` takes for receipted ranges."""
    return "receipted", _checked(spans)


def _epochs(found: Mapping[str, Any]) -> tuple[tuple[int, str], ...]:
    if "epochs" in found:
        return tuple((before, epoch) for before, epoch in _unchecked(found["epochs"]))
    epoch = found.get("epoch")  # before version 3 there was one
    if not isinstance(epoch, str) or not epoch:
        return ()
    check = found.get("epoch_check")  # files of version 1 have none
    return ((0, epoch),) if check is None or check == zlib.crc32(epoch.encode()) else ()


def _number(found: Mapping[str, Any], key: str) -> int:
    value = found.get(key)
    return value if isinstance(value, int) and 0 <= value < 1 << 53 else 0


def _spans(value: object) -> tuple[tuple[int, int], ...]:
    return tuple((low, high) for low, high in _unchecked(value))


def _checked(pairs: Sequence[tuple[int, Any]]) -> str:
    text = msgspec.json.encode(pairs).decode()
    return f"{zlib.crc32(text.encode()):08x} {text}"


def _unchecked(value: object) -> list[Any]:
    """What `_checked` wrote; nothing when a bit has flipped in it."""
    check, _, text = value.partition(" ") if isinstance(value, str) else ("", "", "")
    if f"{zlib.crc32(text.encode()):08x}" != check:
        return []
    return list(msgspec.json.decode(text or "[]"))
