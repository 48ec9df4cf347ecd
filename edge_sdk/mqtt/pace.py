"""How large the next pack is: small on a slow link, so that live results wait little; large on a quick one."""

from __future__ import annotations

SMALLEST_BYTES = 4096
FIRST_BYTES = 16 * 1024

_QUICK_S = 0.025
_SLOW_S = 0.1
_GROW_CEILING_AFTER = 64


class Pace:
    """Chooses the size of packs from how long the broker took to acknowledge them. Pure: times are arguments.

    What counts is the time beyond the quickest acknowledgement seen on this connection: a long way alone is no
    reason for small packs, a queue on the way is. A size that the connection did not survive is not tried again
    until many smaller ones have passed: it may be more than this broker takes.

    Attributes:
        pack_bytes: What the next pack may hold.

    Args:
        most_bytes: What a pack may ever hold.
    """

    def __init__(self, most_bytes: int) -> None:
        self.pack_bytes = min(FIRST_BYTES, most_bytes)
        self._most = most_bytes
        self._ceiling = most_bytes
        self._largest_passed = 0
        self._passed = 0
        self._quickest_s = float("inf")

    def connected(self) -> None:
        """A connection begins: the way may be another."""
        self._quickest_s = float("inf")

    def acknowledged(self, size_bytes: int, after_s: float) -> None:
        """A message was acknowledged: a pack, or a live result, which tells how long the way is."""
        self._quickest_s = min(self._quickest_s, after_s)
        if size_bytes < SMALLEST_BYTES:
            return
        self._largest_passed = max(self._largest_passed, size_bytes)
        self._passed += 1
        if self._passed % _GROW_CEILING_AFTER == 0:
            self._ceiling = min(self._most, 2 * self._ceiling)
        waited_s = after_s - self._quickest_s
        if waited_s < _QUICK_S:
            self.pack_bytes = min(self._ceiling, 2 * self.pack_bytes)
        elif waited_s > _SLOW_S:
            self.pack_bytes = max(SMALLEST_BYTES, self.pack_bytes // 2)

    def lost(self) -> None:
        """The connection ended while packs were under way: perhaps one was too large."""
        if self.pack_bytes > self._largest_passed:
            self._ceiling = max(SMALLEST_BYTES, self.pack_bytes // 2)
        self.pack_bytes = max(SMALLEST_BYTES, min(self._ceiling, self.pack_bytes // 2))
        self._passed = 0
