"""The spectrogram: from sound, or any vibration, to how strong each frequency is in each short stretch of time."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from edge_sdk.base.errors import BundleFormatError

_TAPERS = {
    "hann": (0.5, 0.5),
    "hamming": (0.54, 0.46),
    "rectangular": (1.0, 0.0),
}


class Spectrogram:
    """Frames of one channel, tapered, as magnitudes or powers of their frequencies; by mel bands and logarithm at will.

    Frames do not reach over the window's ends, tapers are periodic, mel bands are those of HTK without the constant
    part: as `tf.signal.stft` and `tf.signal.linear_to_mel_weight_matrix` do by default.
    """

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Frames in samples, frequencies in Hz; `rate_hz`, the sample rate, is wanted for mel bands alone.

        ``log: natural`` gives ln(x + floor), ``log: decibel`` 10·lg of the power, or 20·lg of the magnitude, not below
        the floor.
        """

        frame: Annotated[int, Meta(ge=2, le=65536, description="Samples of a frame.")]
        hop: Annotated[int, Meta(ge=1, le=65536, description="Samples from one frame's start to the next.")]
        fft: Annotated[int | None, Meta(description="Samples with zeros behind a frame; none: as many as a frame.")] = (
            None
        )
        taper: Annotated[Literal["hann", "hamming", "rectangular"], Meta(description="How a frame fades out.")] = "hann"
        of: Annotated[Literal["magnitude", "power"], Meta(description="Power is the square.")] = "magnitude"
        mel_bands: Annotated[int, Meta(ge=0, le=1024, description="0: every frequency for itself.")] = 0
        rate_hz: Annotated[float, Meta(description="Sample rate, for mel bands.")] = 0.0
        low_hz: Annotated[float, Meta(description="Lower end of the mel bands.")] = 20.0
        high_hz: Annotated[float | None, Meta(description="Upper end of the mel bands; none: half the rate.")] = None
        log: Annotated[Literal["none", "natural", "decibel"], Meta(description="Of what came out.")] = "none"
        floor: Annotated[float, Meta(gt=0, description="Least that has a logarithm.")] = 1e-6

    def __init__(self, options: Options) -> None:
        self._options = options
        self._fft = options.fft or options.frame
        if self._fft < options.frame:
            raise BundleFormatError(f"spectrogram wants fft of at least frame; given are {self._fft}, {options.frame}.")
        a, b = _TAPERS[options.taper]
        self._taper = a - b * np.cos(2 * np.pi * np.arange(options.frame) / options.frame)
        self._bands = _mel(options, self._fft) if options.mel_bands else None

    def apply(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Transform ``(…, n_samples, 1)`` into ``(…, n_frames, n_frequencies or mel_bands)``."""
        if samples.shape[-1] != 1 or samples.shape[-2] < self._options.frame:
            raise BundleFormatError(
                f"spectrogram wants one channel of at least {self._options.frame} samples; there are "
                f"{samples.shape[-1]} of {samples.shape[-2]}."
            )
        if samples.ndim == 2:
            return self._one(samples[:, 0])
        each = [self._one(window) for window in samples.reshape(-1, samples.shape[-2])]  # one by one: frames overlap
        return np.stack(each).reshape(*samples.shape[:-2], *each[0].shape)

    def _one(self, sound: NDArray[np.float32]) -> NDArray[np.float32]:
        options = self._options
        frames = np.lib.stride_tricks.sliding_window_view(sound, options.frame)[:: options.hop]
        strength: NDArray[np.float64] = np.abs(np.fft.rfft(frames.astype(np.float64) * self._taper, self._fft))
        if options.of == "power":
            strength = strength * strength
        if self._bands is not None:
            strength = strength @ self._bands
        if options.log == "natural":
            strength = np.log(strength + options.floor)
        elif options.log == "decibel":
            strength = (10.0 if options.of == "power" else 20.0) * np.log10(np.maximum(strength, options.floor))
        return strength.astype(np.float32)


def _mel(options: Spectrogram.Options, fft: int) -> NDArray[np.float64]:
    """How much each frequency counts in each mel band, ``(n_frequencies, mel_bands)``: triangles on the mel scale.

    Raises:
        BundleFormatError: The band's ends are no frequencies that the sample rate has.
    """
    high_hz = options.rate_hz / 2 if options.high_hz is None else options.high_hz
    if not 0 <= options.low_hz < high_hz <= options.rate_hz / 2:
        raise BundleFormatError(
            f"mel_bands want 0 ≤ low_hz < high_hz ≤ rate_hz / 2; given are {options.low_hz:g}, {high_hz:g} and a rate "
            f"of {options.rate_hz:g} Hz."
        )
    edges = np.linspace(_to_mel(options.low_hz), _to_mel(high_hz), options.mel_bands + 2)
    bins = _to_mel(np.arange(fft // 2 + 1) * options.rate_hz / fft)[:, None]
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    weights = np.maximum(0.0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)))
    weights[0] = 0.0
    return np.asarray(weights, np.float64)


def _to_mel(hz: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Mel of a frequency, by O'Shaughnessy's formula as HTK has it."""
    return np.asarray(1127.0 * np.log1p(np.asarray(hz) / 700.0))
