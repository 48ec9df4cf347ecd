"""Images and video devices, by OpenCV."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_sdk.base.errors import SensorError


def read_image(path: Path) -> NDArray[np.uint8] | None:
    """An image, uint8 ``(height, width, 3)``, blue first; None where it cannot be read."""
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError:
        return None
    if not len(data):
        return None
    image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return None if image is None else np.asarray(image, np.uint8)


def fitted(image: NDArray[np.uint8], *, width: int, height: int, colours: Literal["grey", "rgb"]) -> NDArray[np.uint8]:
    """The image at another size and in the colours wanted, uint8 ``(height, width[, 3])``, red first."""
    code = cv2.COLOR_BGR2GRAY if colours == "grey" else cv2.COLOR_BGR2RGB
    if image.shape[:2] != (height, width):
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(cv2.cvtColor(image, code), np.uint8)


class VideoDevice:
    """An open camera of Video4Linux, or a video file or stream that OpenCV can read.

    Args:
        source: ``/dev/video0``, a file, or a URL.
        width: Wanted of the camera, pixels.
        height: Wanted of the camera, pixels.
        frames_hz: Wanted of the camera.

    Raises:
        SensorError: It cannot be opened.
    """

    def __init__(self, source: str, *, width: int, height: int, frames_hz: float) -> None:
        is_device = source.startswith("/dev/")
        self._source = source
        self._capture = cv2.VideoCapture(source, cv2.CAP_V4L2 if is_device else cv2.CAP_ANY)
        if not self._capture.isOpened():
            self._capture.release()
            raise SensorError(f"Camera {source} cannot be opened. Is it there, in use, ours to read (group video)?")
        if is_device:
            self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
            self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
            self._capture.set(cv2.CAP_PROP_FPS, frames_hz)
            self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)

    def read(self) -> NDArray[np.uint8]:
        """Wait for a frame: uint8 ``(height, width, 3)``, blue first.

        Raises:
            SensorError: It gives none any more.
        """
        has_come, image = self._capture.read()
        if not has_come or image is None:
            raise SensorError(f"Camera {self._source} gives no frame. Check its plug and power.")
        return np.asarray(image, np.uint8)

    def close(self) -> None:
        """Let go."""
        self._capture.release()
