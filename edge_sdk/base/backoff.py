"""Waiting before the next try: full jitter, reset only after a stable period."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass
class Backoff:
    """Delays drawn from ``[0, min(cap, base · 2ⁿ)]``.

    Full jitter spreads the reconnects of a fleet evenly (Brooker 2015, "Exponential Backoff And Jitter").

    Attributes:
        base_s: The widest first delay.
        cap_s: The widest delay of all.
        stable_s: A connection that lasted this long starts the count anew.
        rng: Source of the jitter.
    """

    base_s: float = 1.0
    cap_s: float = 120.0
    stable_s: float = 30.0
    rng: random.Random = field(default_factory=random.Random)
    failures: int = 0

    def next_delay_s(self) -> float:
        """Count one more failure and say how long to wait."""
        ceiling = min(self.cap_s, self.base_s * 2.0 ** min(self.failures, 32))
        self.failures += 1
        return self.rng.uniform(0.0, ceiling)

    def worked_for(self, seconds: float) -> None:
        """Forget the failures if what was tried then held for the stable period."""
        if seconds >= self.stable_s:
            self.failures = 0
