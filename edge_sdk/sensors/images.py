"""Images as readings: the pixels of a frame, in a row, are its samples."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from edge_sdk.base.clock import Clock
from edge_sdk.contract.reading import Reading
from edge_sdk.sensors.base import Strict
from edge_sdk.sensors.poll import Beats

CHANNELS = {"grey": ("grey",), "rgb": ("red", "green", "blue")}


class FrameOptions(Strict, frozen=True, kw_only=True):
    """How frames become samples."""

    width: Annotated[int, Meta(ge=1, le=4096, description="Of a frame as it is handed on, pixels.")]
    height: Annotated[int, Meta(ge=1, le=4096, description="Of a frame as it is handed on, pixels.")]
    colours: Annotated[Literal["grey", "rgb"], Meta(description="One channel, or red, green and blue.")] = "grey"
    frames_hz: Annotated[float, Meta(gt=0, le=240, description="Frames a second.")] = 1.0


class Frames:
    """Makes readings of frames.

    A frame is `width · height` samples, row by row from the top left, each 0 to 255; its first sample lies on the grid
    of frames since 1970. So a window of the model that is `width · height` long, with as long a stride and a rate of
    `width · height · frames_hz`, is exactly one frame.

    Args:
        sensor: Name of the sensor.
        options: Size, colours and rate.
        clock: Where time comes from.

    Attributes:
        rate_hz: Samples (pixels) a second.
    """

    def __init__(self, sensor: str, options: FrameOptions, clock: Clock) -> None:
        self._sensor, self._clock = sensor, clock
        self.rate_hz = options.width * options.height * options.frames_hz
        self._shape = (options.width * options.height, len(CHANNELS[options.colours]))
        self._beats = Beats(options.frames_hz)
        self._last = -1

    def reading(self, pixels: NDArray[np.uint8], at_ns: int) -> Reading | None:
        """A reading of a frame, uint8 ``(height, width[, 3])``, taken at `at_ns`; None if its place has one already."""
        beat = self._beats.nearest(at_ns)
        if beat == self._last:
            return None
        self._last = beat
        return Reading(
            self._sensor,
            pixels.reshape(self._shape).astype(np.float32),
            self._beats.time_ns(beat),
            rate_hz=self.rate_hz,
            observed_ns=self._clock.wall_ns(),
            monotonic_ns=self._clock.monotonic_ns(),
            clock=self._clock.state(),
        )
