"""A reading: one block of samples of one sensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_sdk.base.clock import ClockState
from edge_sdk.base.errors import ReadingError


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A block of samples of one sensor; audio at 16 kHz and a thermometer at 1/30 Hz use the same type.

    Give `rate_hz` for evenly spaced samples, or `times_ns` for one event time per sample.

    Attributes:
        sensor: The sensor that measured it.
        samples: float32, shape ``(n_samples, n_channels)``, in the sensor's physical unit; NaN = not measured.
        start_ns: Event time of the first sample, nanoseconds since the Unix epoch.
        rate_hz: Samples a second, when they are evenly spaced; 0 when `times_ns` is given.
        times_ns: int64 event time of each sample, shape ``(n_samples,)``; None when evenly spaced.
        observed_ns: Wall time at which the last sample reached this machine; 0 = the same as its event time.
        monotonic_ns: Monotonic time of the same moment, to re-time what was measured before the clock was set.
        clock: Whether the wall clock could be believed then.

    Raises:
        ReadingError: Shape, dtype or times are not as above.
    """

    sensor: str
    samples: NDArray[np.float32]
    start_ns: int
    rate_hz: float = 0.0
    times_ns: NDArray[np.int64] | None = None
    observed_ns: int = 0
    monotonic_ns: int = 0
    clock: ClockState = ClockState.SYNCED

    def __post_init__(self) -> None:
        if self.samples.ndim != 2 or self.samples.dtype != np.float32 or len(self.samples) == 0:
            raise ReadingError(
                f"Reading of {self.sensor!r} is {self.samples.dtype}{self.samples.shape}, "
                "wanted is float32 (n_samples, n_channels) with at least one sample."
            )
        if self.times_ns is None:
            if not self.rate_hz > 0:
                raise ReadingError(f"Reading of {self.sensor!r} has neither rate_hz nor times_ns; give one of them.")
        elif self.times_ns.shape != (len(self.samples),):
            raise ReadingError(
                f"Reading of {self.sensor!r} has times_ns of shape {self.times_ns.shape} "
                f"for {len(self.samples)} samples; give one time per sample."
            )

    @property
    def sample_times_ns(self) -> NDArray[np.int64]:
        """Event time of each sample, int64 of shape ``(n_samples,)``."""
        if self.times_ns is not None:
            return self.times_ns
        offsets: NDArray[np.int64] = np.rint(np.arange(len(self.samples)) * (1e9 / self.rate_hz)).astype(np.int64)
        return offsets + self.start_ns

    @property
    def span_ns(self) -> int:
        """From the first sample's time to the last one's."""
        if self.times_ns is not None:
            return max(0, int(self.times_ns[-1]) - int(self.times_ns[0]))
        return round((len(self.samples) - 1) * 1e9 / self.rate_hz)

    @property
    def last_observed_ns(self) -> int:
        """Wall time at which the last sample was at hand."""
        return self.observed_ns or int(self.sample_times_ns[-1])
