"""Sound inputs, by sounddevice (PortAudio, ALSA)."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_sdk.base.errors import SensorError

_open: set[int] = set()
_lock = threading.Lock()


class SoundInput:
    """An open input.

    Args:
        device: Part of its name; None = the system's choice.
        rate_hz: Samples a second.
        channels: How many.
        block: Samples in one block.

    Raises:
        SensorError: It cannot be opened; says what to do.
    """

    def __init__(self, device: str | None, *, rate_hz: float, channels: int, block: int) -> None:
        self._block = block
        sound = _library()
        with _lock:
            if not _open:  # what was plugged in since the last look is seen only by looking anew
                sound._terminate()
                sound._initialize()
            try:
                self._stream = sound.InputStream(
                    device=device,
                    samplerate=rate_hz,
                    channels=channels,
                    blocksize=block,
                    dtype="float32",
                    latency="high",
                )
                self._stream.start()
            except (ValueError, sound.PortAudioError) as error:
                there = ", ".join(one["name"] for one in sound.query_devices() if one["max_input_channels"]) or "none"
                raise SensorError(
                    f"Sound input {device or 'default'!r} cannot be opened: {error}. Inputs here: {there}."
                ) from error
            _open.add(id(self))
        self._failure: type[Exception] = sound.PortAudioError

    def read(self) -> tuple[NDArray[np.float32], bool]:
        """Wait for a block: float32 ``(n, channels)``, and whether samples were lost before it.

        Raises:
            SensorError: It is gone.
        """
        try:
            samples, is_broken = self._stream.read(self._block)
        except self._failure as error:
            raise SensorError(f"The sound input is gone: {error}. Check its plug.") from error
        return np.array(samples, np.float32), bool(is_broken)

    def close(self) -> None:
        """Let go."""
        with _lock:
            self._stream.close(ignore_errors=True)
            _open.discard(id(self))


def _library() -> Any:
    try:
        import sounddevice
    except OSError as error:
        raise SensorError(f"{error}. Run: sudo apt-get install libportaudio2") from error
    return sounddevice
