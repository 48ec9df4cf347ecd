"""How large the next pack is: small on a slow link, so that live results wait little; large on a quick one."""

from __future__ import annotations

SMALLEST_BYTES = 4096
FIRST_BYTES = 16 * 1024

_QUICK_S = 0.025
_SLOW_S = 0.1
_CALM = 16  # so many neither quick nor slow in a row: try more
_GROW_CEILING_AFTER = 64
_LOOK_BACK = 20
_MOST_UNDER_WAY = 4
_LONG_S = 0.5
_JITTER = 0.25, 1.25  # of the way, beyond it: that is quick still, and that is slow. A broker that waits for TCP's
_LONG_JITTER = 1.5, 3.0  # acknowledgement adds a whole way; on a long one nobody hurries


class Pace:
    """Chooses the size of packs from how long the broker took to acknowledge them. Pure: times are arguments.

    What counts is the time beyond the quickest acknowledgement seen on this connection: a long way alone is no
    reason for small packs, a queue on the way is. The smallest packs go one at a time and make none: when even then
    none comes near the quickest, the way has become longer. A size that the connection did not survive is not tried
    again until many smaller ones have passed: it may be more than this broker takes.

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
        self._quickest_s = self._lately_s = float("inf")
        self._looked_at = self._calm = 0

    @property
    def packs_under_way(self) -> int:
        """How many packs may wait for their acknowledgement at once."""
        return _MOST_UNDER_WAY if self.pack_bytes > SMALLEST_BYTES else 1

    def connected(self) -> None:
        """A connection begins: the way may be another."""
        self._quickest_s = self._lately_s = float("inf")
        self._looked_at = 0

    def acknowledged(self, size_bytes: int, after_s: float) -> None:
        """A message was acknowledged: a pack, or a live result, which tells how long the way is."""
        self._quickest_s = min(self._quickest_s, after_s)
        self._look_back(after_s)
        if size_bytes < SMALLEST_BYTES // 2:  # too small to tell; a pack holds somewhat less than it may
            return
        self._largest_passed = max(self._largest_passed, size_bytes)
        self._passed += 1
        if self._passed % _GROW_CEILING_AFTER == 0:
            self._ceiling = min(self._most, 2 * self._ceiling)
        waited_s = after_s - self._quickest_s
        quick, slow = _LONG_JITTER if self._quickest_s > _LONG_S else _JITTER
        self._calm += 1
        if waited_s > max(_SLOW_S, slow * self._quickest_s):
            self.pack_bytes = max(SMALLEST_BYTES, self.pack_bytes // 2)
            self._calm = 0
        elif waited_s < max(_QUICK_S, quick * self._quickest_s) or self._calm >= _CALM:
            self.pack_bytes = min(self._ceiling, 2 * self.pack_bytes)
            self._calm = 0

    def _look_back(self, after_s: float) -> None:
        if self.pack_bytes > SMALLEST_BYTES:
            self._lately_s, self._looked_at = float("inf"), 0
            return
        self._lately_s = min(self._lately_s, after_s)
        self._looked_at += 1
        if self._looked_at >= _LOOK_BACK:
            self._quickest_s = self._lately_s
            self._lately_s, self._looked_at = float("inf"), 0

    def lost(self) -> None:
        """The connection ended while packs were under way: perhaps one was too large."""
        if self.pack_bytes > self._largest_passed:
            self._ceiling = max(SMALLEST_BYTES, self.pack_bytes // 2)
        self.pack_bytes = max(SMALLEST_BYTES, min(self._ceiling, self.pack_bytes // 2))
        self._passed = 0
