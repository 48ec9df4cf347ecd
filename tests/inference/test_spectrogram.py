from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_sdk.base.errors import BundleFormatError
from edge_sdk.contract.manifest import Step
from edge_sdk.inference.preprocess import Preprocess

RATE_HZ = 16000


def _spectrogram(sound: NDArray[np.float32], **options: Any) -> NDArray[np.float32]:
    return Preprocess.of([Step(kind="spectrogram", options=options)]).apply(sound)


def _tone(hz: float, n: int = 4000) -> NDArray[np.float32]:
    return np.sin(2 * np.pi * hz * np.arange(n) / RATE_HZ).astype(np.float32)[:, None]


def test_each_frame_is_its_fourier_transform_under_the_taper() -> None:
    sound = np.random.default_rng(0).normal(size=(4000, 1)).astype(np.float32)
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(480) / 480)

    found = _spectrogram(sound, frame=480, hop=160, fft=512)

    assert found.shape == (23, 257)
    assert found.dtype == np.float32
    for frame in (0, 22):
        wanted = np.abs(np.fft.rfft(sound[frame * 160 : frame * 160 + 480, 0] * taper, 512))
        np.testing.assert_allclose(found[frame], wanted, atol=1e-4)


def test_a_tone_stands_in_the_mel_band_of_its_frequency() -> None:
    bands = {
        hz: int(_spectrogram(_tone(hz), frame=480, hop=160, fft=512, mel_bands=40, rate_hz=RATE_HZ).mean(0).argmax())
        for hz in (300.0, 1000.0, 3000.0)
    }

    edges = np.linspace(1127 * np.log1p(20 / 700), 1127 * np.log1p(8000 / 700), 42)
    for hz, band in bands.items():
        assert edges[band] < 1127 * np.log1p(hz / 700) < edges[band + 2]


def test_logarithms_are_of_what_they_say() -> None:
    sound = _tone(1000)
    plain = _spectrogram(sound, frame=256, hop=128)
    options = {"frame": 256, "hop": 128, "floor": 0.01}

    np.testing.assert_allclose(_spectrogram(sound, log="natural", **options), np.log(plain + 0.01), atol=1e-4)
    decibel = 20 * np.log10(np.maximum(plain, 0.01))
    np.testing.assert_allclose(_spectrogram(sound, log="decibel", **options), decibel, atol=1e-3)
    power = _spectrogram(sound, log="decibel", of="power", **options | {"floor": 1e-4})
    np.testing.assert_allclose(power, decibel, atol=1e-3)


def test_windows_together_are_as_each_alone() -> None:
    sounds = np.stack([_tone(300), _tone(700)])

    both = _spectrogram(sounds, frame=256, hop=128)

    np.testing.assert_array_equal(both[1], _spectrogram(sounds[1], frame=256, hop=128))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frame": 512, "hop": 160, "fft": 256}, "fft of at least frame"),
        ({"frame": 512, "hop": 160, "mel_bands": 40}, "rate of 0 Hz"),
        ({"frame": 512, "hop": 160, "mel_bands": 40, "rate_hz": 16000, "high_hz": 9000}, "9000"),
        ({"frame": 0, "hop": 160}, "wrong options"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleFormatError, match=message):
        _spectrogram(_tone(300), **options)


def test_two_channels_or_too_few_samples_are_refused() -> None:
    for sound in (np.zeros((4000, 2), np.float32), np.zeros((100, 1), np.float32)):
        with pytest.raises(BundleFormatError, match="one channel of at least 256 samples"):
            _spectrogram(sound, frame=256, hop=128)
