from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_sdk.base.clock import SystemClock
from edge_sdk.base.errors import ConfigError, SensorError
from edge_sdk.contract.reading import Reading
from edge_sdk.sensors.replay import Replay

pytestmark = pytest.mark.anyio
SECOND = 1_000_000_000


def recording(path: Path, times_s: list[float], name: str = "samples") -> Path:
    np.savez(
        path, allow_pickle=False, times_s=np.array(times_s), **{name: np.arange(2.0 * len(times_s)).reshape(-1, 2)}
    )
    return path


async def played(path: Path, **options: object) -> list[Reading]:
    replay = Replay(
        "thing",
        Replay.Options(file=path, rate_hz=10.0, speed=1000.0, **options),  # type: ignore[arg-type]
        clock=SystemClock(),
    )
    got: list[Reading] = []

    async def emit(reading: Reading) -> None:
        got.append(reading)

    await replay.run(emit)
    return got


async def test_a_recording_comes_out_as_it_went_in(tmp_path: Path) -> None:
    path = recording(tmp_path / "r.npz", [0.1 * n for n in range(12)])

    got = await played(path, start=7 * SECOND, block_s=0.5)

    assert [len(reading.samples) for reading in got] == [5, 5, 2]
    np.testing.assert_array_equal(np.concatenate([reading.samples for reading in got]).ravel(), np.arange(24))
    times = np.concatenate([reading.sample_times_ns for reading in got])
    np.testing.assert_allclose(times, 7 * SECOND + np.arange(12) * SECOND / 10, atol=2)


async def test_a_gap_in_the_recording_is_a_gap_in_the_replay(tmp_path: Path) -> None:
    path = recording(tmp_path / "r.npz", [0.0, 0.1, 0.2, 5.0, 5.1])

    got = await played(path, start=0, block_s=10.0)

    assert [(len(reading.samples), reading.start_ns) for reading in got] == [(3, 0), (2, 5 * SECOND)]


async def test_without_a_start_event_time_is_never_ahead_of_the_clock(tmp_path: Path) -> None:
    got = await played(recording(tmp_path / "r.npz", [0.1 * n for n in range(100)]))

    assert all(reading.sample_times_ns[-1] <= reading.observed_ns for reading in got)


def test_an_array_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = recording(tmp_path / "r.npz", [0.0, 0.1], name="other")

    with pytest.raises(ConfigError, match=r"no array 'samples'.*other"):
        Replay("thing", Replay.Options(file=path, rate_hz=10.0), clock=SystemClock())


def test_times_that_do_not_rise_are_refused(tmp_path: Path) -> None:
    path = recording(tmp_path / "r.npz", [0.0, 0.2, 0.1])

    with pytest.raises(ConfigError, match="must rise"):
        Replay("thing", Replay.Options(file=path, rate_hz=10.0), clock=SystemClock())


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_a_file_that_is_no_recording_is_a_sensor_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.npz").write_bytes(content)

    with pytest.raises(SensorError, match="cannot be read"):
        Replay("thing", Replay.Options(file=tmp_path / "r.npz", rate_hz=10.0), clock=SystemClock())
