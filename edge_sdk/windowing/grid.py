"""The grid: where a model's samples lie in event time, the same for every sensor."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from edge_sdk.base.errors import ConfigError


class Grid:
    """Sample k lies at ``k · 1e9 / rate_hz`` nanoseconds since the Unix epoch, rounded to the nanosecond.

    The period is kept as a fraction, so that sample 10¹¹ lies where it should.

    Attributes:
        rate_hz: Samples a second.
        period_ns: Nanoseconds from one sample to the next.

    Raises:
        ConfigError: The rate is not a positive number.
    """

    def __init__(self, rate_hz: float) -> None:
        if not 0 < rate_hz <= 1e9:
            raise ConfigError(f"rate_hz is {rate_hz}; wanted is more than 0 and at most 1e9.")
        nice = Fraction(rate_hz).limit_denominator(1_000_000)
        rate = nice if abs(float(nice) - rate_hz) <= 1e-9 * rate_hz else Fraction(rate_hz)
        period = 1_000_000_000 / rate
        self.rate_hz = rate_hz
        self.period_ns = float(period)
        self._numerator, self._denominator = period.numerator, period.denominator

    def time_ns(self, index: int) -> int:
        """Event time of sample `index`."""
        return (index * self._numerator * 2 + self._denominator) // (self._denominator * 2)

    def nearest(self, time_ns: int) -> int:
        """Index of the sample nearest to an event time; the later one of two that are equally near."""
        return (time_ns * self._denominator * 2 + self._numerator) // (self._numerator * 2)

    def position(self, time_ns: int, anchor: int) -> float:
        """Where one event time lies, in periods after sample `anchor`."""
        return (time_ns - self.time_ns(anchor)) / self.period_ns

    def positions(self, times_ns: NDArray[np.int64], anchor: int) -> NDArray[np.float64]:
        """Where event times lie, in periods after sample `anchor`; exact near the anchor."""
        positions: NDArray[np.float64] = (times_ns - self.time_ns(anchor)) / self.period_ns
        return positions
