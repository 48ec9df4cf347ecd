"""Stamps: event times for samples that carry none, from when they arrived. Pure: no clock is read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_sdk.base.clock import Clock
from edge_sdk.contract.reading import Reading

_SETTLE_NS = 30_000_000_000.0
_SLACK_NS = 250_000_000
_SLACK_PERIODS = 4.0


@dataclass(frozen=True, slots=True)
class Stamped:
    """When some samples were measured.

    Attributes:
        start_ns: Event time of the first, nanoseconds since the Unix epoch.
        times_ns: int64 ``(n,)``; None = evenly spaced at the declared rate.
    """

    start_ns: int
    times_ns: NDArray[np.int64] | None


class Stamper:
    """Gives rows that arrive in bursts the times at which they were probably measured.

    With a rate: evenly spaced, blocks joined without a seam. The grid follows the arrivals slowly (30 s), so that
    jitter of the operating system does not show and a crystal that runs 50 ppm fast is followed; when it is off by
    more than a quarter of a second and four periods, there was a gap or the clock was set: a new grid begins.
    Without a rate: the rows of one burst are spread evenly over the time since the burst before.

    Args:
        rate_hz: Samples a second, if they come steadily; None = they come when they come.
    """

    def __init__(self, rate_hz: float | None = None) -> None:
        self._period_ns = 1e9 / rate_hz if rate_hz else None
        self._next_ns: float | None = None
        self._last_ns: int | None = None

    def stamp(self, n: int, now_ns: int) -> Stamped:
        """Times of the `n` ≥ 1 samples that have just arrived, the last of them now."""
        if self._period_ns is None:
            return self._spread(n, now_ns)
        start_ns = now_ns - (n - 1) * self._period_ns
        if self._next_ns is not None:
            error_ns = start_ns - self._next_ns
            if abs(error_ns) <= max(_SLACK_NS, _SLACK_PERIODS * self._period_ns):
                start_ns = self._next_ns + error_ns * min(1.0, n * self._period_ns / _SETTLE_NS)
        self._next_ns = start_ns + n * self._period_ns
        return Stamped(round(start_ns), None)

    def _spread(self, n: int, now_ns: int) -> Stamped:
        last_ns, self._last_ns = self._last_ns, now_ns
        if n == 1 or last_ns is None or last_ns >= now_ns:
            step_ns = 0 if n == 1 else 1_000_000
        else:
            step_ns = min((now_ns - last_ns) // n, 1_000_000_000)
        times_ns = now_ns - step_ns * np.arange(n - 1, -1, -1, dtype=np.int64)
        return Stamped(int(times_ns[0]), times_ns)


class Stamp:
    """Makes readings of rows: event time from a `Stamper`, the rest from the clock.

    Args:
        sensor: Name of the sensor.
        clock: Where time comes from.
        rate_hz: As `Stamper`.
    """

    def __init__(self, sensor: str, clock: Clock, rate_hz: float | None = None) -> None:
        self._sensor, self._clock, self._rate_hz = sensor, clock, rate_hz or 0.0
        self._stamper = Stamper(rate_hz)

    def reading(self, rows: NDArray[np.float32], times_ns: NDArray[np.int64] | None = None) -> Reading:
        """A reading of `rows`, float32 ``(n, n_channels)``, n ≥ 1, that have just arrived.

        Args:
            rows: The samples.
            times_ns: int64 ``(n,)`` event times where the source gave them.
        """
        wall_ns = self._clock.wall_ns()
        stamped = self._stamper.stamp(len(rows), wall_ns) if times_ns is None else Stamped(int(times_ns[0]), times_ns)
        return Reading(
            self._sensor,
            rows,
            stamped.start_ns,
            rate_hz=self._rate_hz,
            times_ns=stamped.times_ns,
            observed_ns=wall_ns,
            monotonic_ns=self._clock.monotonic_ns(),
            clock=self._clock.state(),
        )
