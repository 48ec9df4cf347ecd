"""What the outbox's file says of itself, beside its rows; a flipped bit in it must not cost or double a result."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SET = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"


@dataclass(frozen=True, slots=True)
class Meta:
    """The file's own numbers.

    Attributes:
        epoch: Random id made with the outbox; empty when it is missing or damaged.
        newest: Highest number known when the file was closed or made.
        dropped: Rows given up since it was made.
        damaged: Rows found unreadable since it was made.
        receipted: Ranges that need not be sent any more, though they are in the file.
    """

    epoch: str
    newest: int = 0
    dropped: int = 0
    damaged: int = 0
    receipted: tuple[tuple[int, int], ...] = ()


def read_meta(db: sqlite3.Connection) -> Meta:
    """Read it; what is damaged reads as if it were not there. Raises sqlite3.Error."""
    found: dict[str, Any] = dict(db.execute("SELECT key, value FROM meta").fetchall())
    return Meta(
        _epoch(found),
        newest=_number(found, "newest"),
        dropped=_number(found, "dropped"),
        damaged=_number(found, "damaged"),
        receipted=_spans(found.get("receipted")),
    )


def epoch_values(epoch: str) -> list[tuple[str, object]]:
    """What `SET` takes for an epoch."""
    return [("epoch", epoch), ("epoch_check", zlib.crc32(epoch.encode()))]


def receipted_value(spans: Sequence[tuple[int, int]]) -> tuple[str, object]:
    """What `SET` takes for receipted ranges."""
    text = json.dumps(spans, separators=(",", ":"))
    return "receipted", f"{zlib.crc32(text.encode()):08x} {text}"


def _epoch(found: Mapping[str, Any]) -> str:
    epoch = found.get("epoch")
    if not isinstance(epoch, str):
        return ""
    check = found.get("epoch_check")  # files of version 1 have none
    return epoch if check is None or check == zlib.crc32(epoch.encode()) else ""


def _number(found: Mapping[str, Any], key: str) -> int:
    value = found.get(key)
    return value if isinstance(value, int) and 0 <= value < 1 << 53 else 0


def _spans(value: object) -> tuple[tuple[int, int], ...]:
    check, _, text = value.partition(" ") if isinstance(value, str) else ("", "", "")
    if f"{zlib.crc32(text.encode()):08x}" != check:
        return ()
    return tuple((low, high) for low, high in json.loads(text or "[]"))
