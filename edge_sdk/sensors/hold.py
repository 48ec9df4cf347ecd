"""Holding: values that come apart from each other, as rows. Pure: time is an argument."""

from __future__ import annotations

import math
from collections.abc import Sequence


class Hold:
    """Remembers each channel's last value for a while, so that a message about one of them makes a whole row.

    Args:
        n: How many channels.
        hold_s: How long a value counts after it came; 0 = only in its own message.
    """

    def __init__(self, n: int, hold_s: float) -> None:
        self._hold_ns = round(hold_s * 1e9)
        self._values = [math.nan] * n
        self._came_ns = [0] * n

    def row(self, values: Sequence[float], now_ns: int) -> list[float]:
        """The new values, and for those that are NaN the last ones, unless they are too old."""
        for at, value in enumerate(values):
            if not math.isnan(value):
                self._values[at], self._came_ns[at] = value, now_ns
        return [
            value if came_ns == now_ns or now_ns - came_ns <= self._hold_ns else math.nan
            for value, came_ns in zip(self._values, self._came_ns, strict=True)
        ]
