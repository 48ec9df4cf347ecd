"""A bound on requests: each caller has a bucket that fills at a steady rate. Pure."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

CALLERS = 10_000
"""So many callers are remembered; beyond it the one that asked longest ago is forgotten, with a full bucket."""


@dataclass(slots=True)
class RateLimit:
    """Lets a caller ask so often, with a burst of some seconds' worth.

    Attributes:
        per_s: Requests a second, in the long run; 0 = no bound.
        burst_s: A caller that was quiet may ask for so many seconds' worth at once.
    """

    per_s: float
    burst_s: float = 4.0
    _buckets: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def wait_s(self, caller: str, now_s: float) -> float:
        """Count one request; 0 = go on, else how long to wait: then it was not counted."""
        if not self.per_s:
            return 0.0
        full = max(1.0, self.per_s * self.burst_s)
        left, since_s = self._buckets.pop(caller, (full, now_s))
        left = min(full, left + (now_s - since_s) * self.per_s)
        wait_s = 0.0 if left >= 1.0 else (1.0 - left) / self.per_s
        self._buckets[caller] = (left - 1.0 if not wait_s else left, now_s)
        if len(self._buckets) > CALLERS:
            self._buckets.popitem(last=False)
        return wait_s
