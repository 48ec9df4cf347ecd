from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_sdk.base.clock import SystemClock
from edge_sdk.base.errors import SensorError
from edge_sdk.sensors.wav import Wav, WavFormat
from tests.sensors.stands import wav_bytes
from tests.sensors.test_conformance import until

pytestmark = pytest.mark.anyio
LEVELS = np.array([[0.0], [0.5], [-0.5], [-1.0]])


def wav(path: Path, data: bytes, **options: Any) -> Wav:
    path.write_bytes(data)
    return Wav("sound", Wav.Options(file=path, speed=1000, **options), clock=SystemClock())


def of_24_bits(levels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    counts = (levels.ravel() * 2**23).astype(np.int32) & 0xFFFFFF
    return np.frombuffer(b"".join(int(count).to_bytes(3, "little") for count in counts), np.uint8).copy()


@pytest.mark.parametrize(
    ("form", "bits", "samples"),
    [
        (1, 8, (LEVELS * 128 + 128).astype(np.uint8)),
        (1, 16, (LEVELS * 2**15).astype("<i2")),
        (1, 24, of_24_bits(LEVELS)),
        (1, 32, (LEVELS * 2.0**31).astype("<i4")),
        (3, 32, LEVELS.astype("<f4")),
        (3, 64, LEVELS.astype("<f8")),
    ],
)
async def test_every_form_gives_the_same_samples(tmp_path: Path, form: int, bits: int, samples: Any) -> None:
    sensor = wav(tmp_path / "a.wav", wav_bytes(samples, 1000, form=form, bits=bits))

    [reading] = await until(sensor.run, 5)

    np.testing.assert_allclose(reading.samples, LEVELS, atol=1e-6)
    assert reading.rate_hz == 1000


async def test_blocks_follow_each_other_without_a_seam_also_at_the_end_of_the_file(tmp_path: Path) -> None:
    stereo = np.arange(2500, dtype="<i2").reshape(-1, 2)
    sensor = wav(tmp_path / "a.wav", wav_bytes(stereo, 1000), block_s=0.5, start=0, repeat=True)

    came = await until(sensor.run, 6)

    assert [len(reading.samples) for reading in came] == [500, 500, 250] * 2
    assert [reading.start_ns for reading in came] == [0, 5 * 10**8, 10**9, 125 * 10**7, 175 * 10**7, 225 * 10**7]
    np.testing.assert_array_equal(came[0].samples, came[3].samples)
    assert sensor.channels == ("0", "1")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda data: b"", "no WAV file"),
        (lambda data: b"OggS" + data, "no WAV file"),
        (lambda data: data[:30], "cut off"),
        (lambda data: data[:44], "no samples|cut off|nothing to play"),
        (lambda data: data.replace(b"\x01\x00\x01\x00", b"\x11\x00\x01\x00", 1), "form 17"),
        (lambda data: data.replace(b"\x01\x00\x01\x00", b"\x01\x00\x00\x00", 1), "0 channels"),
    ],
)
def test_a_file_that_cannot_be_played_says_why(tmp_path: Path, spoil: Any, says: str) -> None:
    data = spoil(wav_bytes(np.zeros((10, 1), "<i2"), 1000))

    with pytest.raises(SensorError, match=says):
        wav(tmp_path / "a.wav", data)


async def test_a_file_that_becomes_shorter_while_it_plays_is_a_lost_sensor(tmp_path: Path) -> None:
    data = wav_bytes(np.zeros((10, 1), "<i2"), 1000)
    sensor = wav(tmp_path / "a.wav", data)
    (tmp_path / "a.wav").write_bytes(data[:-4])

    async def ignore(reading: object) -> None:
        pass

    with pytest.raises(SensorError, match="shorter"):
        await sensor.run(ignore)


@settings(max_examples=60)
@given(
    head=st.binary(max_size=80),
    cut=st.integers(0, 80),
    at=st.integers(0, 60),
    noise=st.binary(max_size=6),
)
def test_any_bytes_are_a_wav_file_or_a_sensor_error(
    tmp_path_factory: pytest.TempPathFactory, head: bytes, cut: int, at: int, noise: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.wav"
    good = wav_bytes(np.zeros((10, 1), "<i2"), 1000)
    for data in (head, good[:cut], good[:at] + noise + good[at + len(noise) :]):
        path.write_bytes(data)
        try:
            found = WavFormat.read(path)
        except SensorError:
            continue
        assert found.frames > 0
        assert found.channels > 0
