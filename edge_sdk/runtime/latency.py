"""Latency: how long calls took, as counts in fixed buckets; cheap to keep, and what Prometheus reads."""

from __future__ import annotations

from bisect import bisect_left

BOUNDS_S = (*(round(mantissa * 10.0**power, 7) for power in range(-5, 1) for mantissa in (1, 2, 5)), 10.0)
"""Upper ends of the buckets, seconds: 10 µs, 20 µs, 50 µs … 10 s; what takes longer is in one bucket more."""


class Latency:
    """Counts of how long something took. Fed by one thread; another may read it meanwhile.

    Attributes:
        counts: How many calls fell into each bucket, the one beyond the last bound included.
        total_s: Time of all calls together.
    """

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.total_s = 0.0

    def __len__(self) -> int:
        return sum(self.counts)

    def took(self, seconds: float) -> None:
        """Count one call."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.total_s += seconds

    def quantile_s(self, share: float) -> float | None:
        """Below this time were `share` of the calls, interpolated within its bucket; None before the first."""
        counts = list(self.counts)
        rank = share * sum(counts)
        below = 0
        for index, count in enumerate(counts):
            if count and below + count >= rank:
                low = BOUNDS_S[index - 1] if index else 0.0
                high = BOUNDS_S[min(index, len(BOUNDS_S) - 1)]
                return low + (high - low) * max(0.0, rank - below) / count if high > low else high
            below += count
        return None
