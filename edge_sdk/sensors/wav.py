"""WAV files, played as if a microphone heard them now."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO

import anyio
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import SensorError
from edge_sdk.contract.reading import Reading
from edge_sdk.sensors.base import Emit, Strict
from edge_sdk.sensors.worker import Worker

UNIT = "FS"
"""Full scale: samples lie between -1 and 1."""

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_LARGEST_HEADER = 1_000_000


@dataclass(frozen=True, slots=True)
class WavFormat:
    """Where the samples of a WAV file are, and how they are written.

    Attributes:
        rate_hz: Samples a second.
        channels: How many.
        bits: Of one sample: 8, 16, 24 or 32, or 32 or 64 of floating point.
        is_float: Whether it is floating point.
        begin: Offset of the first sample, bytes.
        frames: How many samples of each channel.
    """

    rate_hz: int
    channels: int
    bits: int
    is_float: bool
    begin: int
    frames: int

    @classmethod
    def read(cls, path: Path) -> WavFormat:
        """Read a file's header.

        Raises:
            SensorError: It cannot be read, or is no WAV file of a form that is known.
        """
        try:
            with path.open("rb") as file:
                return cls._of(file, path)
        except OSError as error:
            if isinstance(error, SensorError):
                raise
            raise SensorError(f"{path} cannot be read: {error.strerror}. Check the path.") from error
        except struct.error as error:
            raise SensorError(f"{path} is cut off within its header. Copy it again.") from error

    @classmethod
    def _of(cls, file: BinaryIO, path: Path) -> WavFormat:
        if file.read(4) not in (b"RIFF", b"RF64") or file.seek(8) != 8 or file.read(4) != b"WAVE":
            raise SensorError(f"{path} is no WAV file. Convert it: ffmpeg -i FILE out.wav.")
        size = path.stat().st_size
        found: tuple[int, int, int, int] | None = None
        while file.tell() < min(size, _LARGEST_HEADER):
            name, length = struct.unpack("<4sI", file.read(8))
            if name == b"fmt ":
                head = file.read(length)
                tag, channels, rate_hz, _, _, bits = struct.unpack("<HHIIHH", head[:16])
                if tag == _EXTENSIBLE and length >= 26:
                    (tag,) = struct.unpack("<H", head[24:26])
                found = tag, channels, rate_hz, bits
            elif name == b"data" and found is not None:
                return cls._checked(path, *found, file.tell(), min(length, size - file.tell()))
            else:
                file.seek(length, 1)
            file.seek(length % 2, 1)
        raise SensorError(f"{path} has no samples. Copy it again.")

    @classmethod
    def _checked(
        cls, path: Path, tag: int, channels: int, rate_hz: int, bits: int, begin: int, length: int
    ) -> WavFormat:
        is_float = tag == _FLOAT
        if (tag, bits) not in {(_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64)}:
            raise SensorError(
                f"{path} has form {tag} with {bits} bits. Convert it: ffmpeg -i FILE -c:a pcm_s16le out.wav."
            )
        frames = length // (channels * bits // 8) if channels else 0
        if not frames or not rate_hz:
            raise SensorError(f"{path} has {channels} channels, {rate_hz} Hz, {frames} samples: nothing to play.")
        return cls(rate_hz, channels, bits, is_float, begin, frames)

    def decode(self, data: bytes) -> NDArray[np.float32]:
        """Samples from -1 to 1, float32 ``(n, channels)``, of whole frames."""
        if self.is_float:
            flat = np.frombuffer(data, f"<f{self.bits // 8}").astype(np.float32)
        elif self.bits == 8:
            flat = (np.frombuffer(data, np.uint8).astype(np.float32) - np.float32(128)) / np.float32(128)
        elif self.bits == 24:
            low, middle, high = np.frombuffer(data, np.uint8).reshape(-1, 3).astype(np.int32).T
            flat = (((low | middle << 8 | high << 16) ^ 0x800000) - 0x800000).astype(np.float32) / np.float32(2**23)
        else:
            flat = np.frombuffer(data, f"<i{self.bits // 8}").astype(np.float32) / np.float32(2 ** (self.bits - 1))
        return flat.reshape(-1, self.channels)


class Wav:
    """A WAV file (PCM or floating point), in blocks, at its own pace or faster; full scale is 1."""

    class Options(Strict, frozen=True, kw_only=True):
        """What to play and how."""

        file: Annotated[Path, Meta(description="Path of the .wav file.")]
        block_s: Annotated[float, Meta(gt=0, description="Recorded seconds in one block.")] = 0.1
        speed: Annotated[float, Meta(gt=0, description="How many times faster than it was recorded.")] = 1.0
        start: Annotated[
            int | None, Meta(description="Event time of the first sample, ns since 1970; default: so that it ends now.")
        ] = None
        repeat: Annotated[bool, Meta(description="Begin again at the end.")] = False

    def __init__(self, name: str, options: Options, *, clock: Clock) -> None:
        self.name, self._options, self._clock = name, options, clock
        self._format = WavFormat.read(options.file)
        self.channels = tuple(str(index) for index in range(self._format.channels))
        self.units = (UNIT,) * self._format.channels
        self.rate_hz: float | None = None  # what is played ends, and may be faster
        self.block_s = 0.0
        self.counters: Counter[str] = Counter()

    async def run(self, emit: Emit) -> None:
        """Play to the end, or for ever.

        Raises:
            SensorError: The file cannot be read any more.
        """
        options, rate_hz = self._options, float(self._format.rate_hz)
        size = max(1, round(options.block_s * rate_hz))
        duration_s = self._format.frames / rate_hz
        start_ns = options.start
        if start_ns is None:
            start_ns = self._clock.wall_ns() - round(duration_s * (1.0 - 1.0 / options.speed) * 1e9)
        begun_ns, played = self._clock.monotonic_ns(), 0
        worker = Worker(self.name)
        file = await worker.open(lambda: options.file.open("rb"))
        try:
            while True:
                for first in range(0, self._format.frames, size):
                    samples = await worker.do(self._block(file, first, min(size, self._format.frames - first)))
                    due_s = (played + len(samples)) / rate_hz / options.speed
                    await anyio.sleep(max(0.0, due_s - (self._clock.monotonic_ns() - begun_ns) / 1e9))
                    await emit(
                        Reading(
                            self.name,
                            samples,
                            start_ns + round(played / rate_hz * 1e9),
                            rate_hz=rate_hz,
                            observed_ns=self._clock.wall_ns(),
                            monotonic_ns=self._clock.monotonic_ns(),
                            clock=self._clock.state(),
                        )
                    )
                    played += len(samples)
                if not options.repeat:
                    return
        finally:
            await worker.close(file.close)

    def _block(self, file: BinaryIO, first: int, n: int) -> Callable[[], NDArray[np.float32]]:
        frame_bytes = self._format.channels * self._format.bits // 8

        def read() -> NDArray[np.float32]:
            file.seek(self._format.begin + first * frame_bytes)
            data = file.read(n * frame_bytes)
            if len(data) < n * frame_bytes:
                raise SensorError(f"{self._options.file} has become shorter than it was. Copy it again.")
            return self._format.decode(data)

        return read
