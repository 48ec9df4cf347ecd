"""A camera: Video4Linux, or a Raspberry Pi's own; and a folder of images in its place."""

from __future__ import annotations

import importlib.util
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, Protocol

import anyio
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import ConfigError, MissingExtraError, SensorError
from edge_sdk.contract.reading import Reading
from edge_sdk.sensors.base import Emit
from edge_sdk.sensors.images import CHANNELS, FrameOptions, Frames
from edge_sdk.sensors.worker import Worker

_ENDINGS = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


class _Source(Protocol):
    """An open camera."""

    def read(self) -> NDArray[np.uint8]:
        """Wait for a frame, uint8 ``(height, width, 3)``, blue first. Raises SensorError."""

    def close(self) -> None:
        """Let go."""


class Camera:
    """A camera; each frame is a block of `width · height` samples, from 0 to 255."""

    class Options(FrameOptions, frozen=True, kw_only=True):
        """Which camera, which frames."""

        driver: Annotated[
            Literal["v4l2", "picamera2"],
            Meta(description="v4l2: USB cameras, by OpenCV; picamera2: those on a Raspberry Pi's ribbon cable."),
        ] = "v4l2"
        device: Annotated[
            str, Meta(description="/dev/video0 or /dev/v4l/by-id/…; a number for picamera2; a video file or rtsp://….")
        ] = "/dev/video0"
        camera_width: Annotated[int, Meta(ge=1, description="Wanted of the camera itself, pixels.")] = 640
        camera_height: Annotated[int, Meta(ge=1, description="Wanted of the camera itself, pixels.")] = 480

    def __init__(self, name: str, options: Options, *, clock: Clock) -> None:
        _check_opencv(name)
        if options.driver == "picamera2":
            if importlib.util.find_spec("picamera2") is None:
                raise MissingExtraError(
                    f"Sensor {name!r}", extra="camera", package="&& sudo apt-get install python3-picamera2"
                )
            if not options.device.isdecimal():
                raise ConfigError(f"device is {options.device!r}; for picamera2 it is the camera's number, as '0'.")
        self.name, self._options, self._clock = name, options, clock
        self.channels = CHANNELS[options.colours]
        self.units = ("1/255",) * len(self.channels)
        self.rate_hz: float | None = options.width * options.height * options.frames_hz
        self.block_s = 1.0 / options.frames_hz
        self.counters: Counter[str] = Counter()

    async def run(self, emit: Emit) -> None:
        """Look for ever.

        Raises:
            SensorError: The camera is not there, or was pulled out.
        """
        await Worker(self.name).pump(self._open, emit)

    def _open(self) -> _Looker:
        options = self._options
        size = {"width": options.camera_width, "height": options.camera_height}
        if options.driver == "picamera2":
            from edge_sdk.sensors.picamera2 import RibbonCamera

            source: _Source = RibbonCamera(int(options.device), frames_hz=options.frames_hz, **size)
        else:
            from edge_sdk.sensors.cv2 import VideoDevice

            source = VideoDevice(options.device, frames_hz=options.frames_hz, **size)
        return _Looker(source, Frames(self.name, options, self._clock), options, self._clock, self.counters)


class _Looker:
    """An open camera, of which as many frames are taken as are wanted."""

    def __init__(
        self, source: _Source, frames: Frames, options: FrameOptions, clock: Clock, counters: Counter[str]
    ) -> None:
        self._source, self._frames, self._options = source, frames, options
        self._clock, self._counters = clock, counters

    def read(self) -> Iterable[Reading]:
        from edge_sdk.sensors.cv2 import fitted

        image = self._source.read()
        pixels = fitted(image, width=self._options.width, height=self._options.height, colours=self._options.colours)
        reading = self._frames.reading(pixels, self._clock.wall_ns())
        if reading is None:
            self._counters["frames.passed_over"] += 1
            time.sleep(min(0.2, 0.25 / self._options.frames_hz))  # a file gives frames as fast as they are taken
            return ()
        return (reading,)

    def close(self) -> None:
        self._source.close()


class ImageFolder:
    """Images of a folder, in the order of their names, as if a camera gave them."""

    class Options(FrameOptions, frozen=True, kw_only=True):
        """Which folder, which frames."""

        folder: Annotated[Path, Meta(description="Where the images are; those that come later are seen, too.")]
        repeat: Annotated[bool, Meta(description="Begin again at the end.")] = False
        follow: Annotated[bool, Meta(description="Wait for more at the end, as where a camera writes files.")] = False

    def __init__(self, name: str, options: Options, *, clock: Clock) -> None:
        _check_opencv(name)
        if options.repeat and options.follow:
            raise ConfigError("`repeat` and `follow` exclude each other. Give one of them.")
        self.name, self._options, self._clock = name, options, clock
        self.channels = CHANNELS[options.colours]
        self.units = ("1/255",) * len(self.channels)
        self.rate_hz: float | None = None
        self.block_s = 0.0 if options.follow else 1.0 / options.frames_hz
        self.counters: Counter[str] = Counter()

    async def run(self, emit: Emit) -> None:
        """Show one image after the other, to the end or for ever.

        Raises:
            SensorError: The folder is not there.
        """
        worker = Worker(self.name)
        try:
            await self._show(worker, Frames(self.name, self._options, self._clock), emit)
        finally:
            await worker.close()

    async def _show(self, worker: Worker, frames: Frames, emit: Emit) -> None:
        options, seen = self._options, ""
        while True:
            paths = await worker.do(lambda seen=seen: self._after(seen))  # type: ignore[misc]
            for path in paths:
                seen = path.name
                pixels = await worker.do(lambda path=path: self._pixels(path))  # type: ignore[misc]
                if pixels is None:
                    self.counters["frames.malformed"] += 1
                    continue
                while (reading := frames.reading(pixels, self._clock.wall_ns())) is None:  # noqa: ASYNC110
                    await anyio.sleep(0.1 / options.frames_hz)
                await emit(reading)
            if options.repeat and seen:
                seen = ""
            elif not options.follow:
                return
            else:
                await anyio.sleep(0.5 / options.frames_hz)

    def _after(self, name: str) -> list[Path]:
        """The images that come after one, by name."""
        if not self._options.folder.is_dir():
            raise SensorError(f"{self._options.folder} is no folder. Check the path, or the mount.")
        found = [path for path in self._options.folder.iterdir() if path.suffix.lower() in _ENDINGS]
        return sorted((path for path in found if path.name > name), key=lambda path: path.name)

    def _pixels(self, path: Path) -> NDArray[np.uint8] | None:
        from edge_sdk.sensors.cv2 import fitted, read_image

        image = read_image(path)
        if image is None:
            return None
        return fitted(image, width=self._options.width, height=self._options.height, colours=self._options.colours)


def _check_opencv(name: str) -> None:
    if importlib.util.find_spec("cv2") is None:
        raise MissingExtraError(f"Sensor {name!r}", extra="camera")
