"""The meter: a bound on bytes per second, for links that are paid by the byte. Pure: times are arguments."""

from __future__ import annotations

import math

_OVERHEAD_BYTES = 60  # of MQTT, TCP and IP for one message, about
_PACK_S = 0.5  # a pack may take the link for so long


class Meter:
    """Says how long to wait before more may be sent; what is sent may overdraw it once.

    Args:
        bytes_per_s: The bound; infinite = none.
    """

    def __init__(self, bytes_per_s: float = math.inf) -> None:
        self._rate = bytes_per_s
        self._left = self._rate * _PACK_S
        self._then_ns: int | None = None

    @property
    def is_bounded(self) -> bool:
        """Whether there is a bound."""
        return not math.isinf(self._rate)

    def pack_bytes(self, wanted: int) -> int:
        """What a pack may hold, so that a live result waits little behind it."""
        return max(1, min(wanted, int(self._rate * _PACK_S))) if self.is_bounded else wanted

    def spend(self, topic: str, payload: bytes, now_ns: int) -> None:
        """A message goes out."""
        if self.is_bounded:
            self._fill(now_ns)
            self._left -= len(topic) + len(payload) + _OVERHEAD_BYTES

    def wait_s(self, now_ns: int) -> float:
        """How long to send nothing; 0 = go on."""
        if not self.is_bounded:
            return 0.0
        self._fill(now_ns)
        return max(0.0, -self._left / self._rate)

    def _fill(self, now_ns: int) -> None:
        if self._then_ns is not None:
            self._left = min(self._rate * _PACK_S, self._left + self._rate * (now_ns - self._then_ns) / 1e9)
        self._then_ns = now_ns
