"""Picking: values out of the JSON that somebody else chose. Pure; what is not there is counted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone

from edge_sdk.sensors.iso8601 import read_iso

# What devices say in place of 1 and 0.
_WORDS = {
    **dict.fromkeys(("on", "true", "open", "online", "yes", "detected", "occupied", "wet"), 1.0),
    **dict.fromkeys(("off", "false", "closed", "close", "offline", "no", "clear", "unoccupied", "dry"), 0.0),
}
_MISSING = object()


class Pick:
    """Values at paths of a document, as rows.

    A path is names with dots between: ``ENERGY.Power``; a number picks from a list; an empty path is the document
    itself; a name that holds dots is found too.

    Args:
        channels: Path by channel.
        counters: Gets ``values.missing``, ``values.malformed`` and ``messages.empty``: documents without any value.
    """

    def __init__(self, channels: Mapping[str, str], *, counters: Counter[str]) -> None:
        self._paths = tuple(channels.values())
        self._counters = counters

    def row(self, document: object) -> Sequence[float] | None:
        """One value for each channel, NaN where there is none; None where there is none at all."""
        row = [self._value(at(document, path)) for path in self._paths]
        if all(math.isnan(value) for value in row):
            self._counters["messages.empty"] += 1
            return None
        return row

    def _value(self, found: object) -> float:
        if found is _MISSING or found is None:
            self._counters["values.missing"] += 1
            return math.nan
        value = number(found)
        if math.isnan(value):
            self._counters["values.malformed"] += 1
        return value


def at(document: object, path: str) -> object:
    """What stands at a path; a value that is none where nothing does."""
    if not path:
        return document
    if isinstance(document, Mapping):
        if path in document:
            return document[path]
        head = path
        while "." in head:
            head = head.rpartition(".")[0]
            if head in document:
                return at(document[head], path[len(head) + 1 :])
        return _MISSING
    if isinstance(document, list):
        head, _, rest = path.partition(".")
        if head.isdecimal() and len(head) < 10 and int(head) < len(document):
            return at(document[int(head)], rest)
    return _MISSING


def number(found: object) -> float:
    """A value as a number: ``21.5``, ``"21.5"``, ``true``, ``"ON"``; NaN for what is none."""
    if isinstance(found, (bool, int, float)):
        try:
            value = float(found)
        except OverflowError:
            return math.nan
    elif isinstance(found, str):
        word = found.strip().lower()
        try:
            value = _WORDS[word] if word in _WORDS else float(word)
        except ValueError:
            return math.nan
    else:
        return math.nan
    return value if math.isfinite(value) else math.nan


def moment_ns(found: object) -> int | None:
    """A time as nanoseconds since 1970: seconds or milliseconds since then, or ISO 8601 with its zone; else None."""
    if isinstance(found, str) and not found.strip().replace(".", "", 1).isdecimal():
        try:
            moment = read_iso(found)
        except ValueError:
            return None
        if moment.tzinfo is None:
            return None  # of which zone?
        delta = moment - datetime(1970, 1, 1, tzinfo=timezone.utc)
        return ((delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds) * 1000
    value = number(found)
    if not 1e8 < value < 1e13:
        return None
    return round(value * 1e6 if value > 1e11 else value * 1e9)
