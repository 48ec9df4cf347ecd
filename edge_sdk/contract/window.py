"""A window: samples of one sensor on a model's own grid."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sdk.base.clock import ClockState
from edge_sdk.base.errors import TensorMismatchError


class Window(msgspec.Struct, frozen=True, eq=False):
    """Samples of one sensor over ``[start_ns, end_ns)``, on the model's sample grid.

    Attributes:
        sensor: The sensor that measured it.
        start_ns: Event time of the first sample, nanoseconds since the Unix epoch.
        end_ns: Event time just past the last sample.
        samples: float32, shape ``(n_samples, n_channels)``, in the sensor's physical unit.
        coverage: Fraction of samples measured rather than interpolated, 0 to 1.
        observed_ns: Wall time at which the last sample in it reached this machine.
        clock: Whether the wall clock could be believed when it was measured.
    """

    sensor: str
    start_ns: int
    end_ns: int
    samples: NDArray[np.float32]
    coverage: float = 1.0
    observed_ns: int = 0
    clock: ClockState = ClockState.SYNCED

    def __post_init__(self) -> None:
        if self.samples.ndim != 2:
            raise TensorMismatchError("samples", want="(n_samples, n_channels)", got=str(self.samples.shape))
