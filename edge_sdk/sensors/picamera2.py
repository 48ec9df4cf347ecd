"""The cameras of a Raspberry Pi on its ribbon cable, by picamera2 (libcamera)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from picamera2 import Picamera2

from edge_sdk.base.errors import SensorError


class RibbonCamera:
    """An open camera.

    Args:
        number: Which of them, from 0.
        width: Pixels.
        height: Pixels.
        frames_hz: Frames a second.

    Raises:
        SensorError: It is not there, or in use.
    """

    def __init__(self, number: int, *, width: int, height: int, frames_hz: float) -> None:
        try:
            self._camera = Picamera2(number)
            settings = self._camera.create_video_configuration(
                main={"size": (width, height), "format": "RGB888"}, controls={"FrameRate": frames_hz}
            )
            self._camera.configure(settings)
            self._camera.start()
        except (RuntimeError, IndexError) as error:
            raise SensorError(f"Camera {number} cannot be opened: {error}. Is its cable in, is it in use?") from error

    def read(self) -> NDArray[np.uint8]:
        """Wait for a frame: uint8 ``(height, width, 3)``, blue first (which libcamera calls RGB888).

        Raises:
            SensorError: It gives none any more.
        """
        try:
            return np.asarray(self._camera.capture_array("main"), np.uint8)
        except (RuntimeError, TimeoutError) as error:
            raise SensorError(f"The camera gives no frame: {error}. Check its cable.") from error

    def close(self) -> None:
        """Let go."""
        self._camera.stop()
        self._camera.close()
