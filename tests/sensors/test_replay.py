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


# ---- CSV and Parquet

CSV = """\
time,co2,note,temp
2026-11-21T02:17:00Z,410,a,20.5
2026-11-21T02:17:01Z,411,b,
2026-11-21T02:17:01Z,412,twice,20.6
broken line
2026-11-21T02:17:02Z,x,c,20.7
2026-11-21T02:17:03Z,413,d,20.8
"""


async def replayed(path: Path, **options: object) -> tuple[list[Reading], Replay]:
    replay = Replay(
        "thing",
        Replay.Options(file=path, rate_hz=1.0, speed=1000.0, **options),  # type: ignore[arg-type]
        clock=SystemClock(),
    )
    got: list[Reading] = []

    async def emit(reading: Reading) -> None:
        got.append(reading)

    await replay.run(emit)
    return got, replay


async def test_a_csv_gives_its_columns_and_counts_the_lines_that_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(CSV)

    got, replay = await replayed(tmp_path / "r.csv", time="time", channels=("temp", "co2"), keep_times=True)

    samples = np.concatenate([reading.samples for reading in got])
    np.testing.assert_allclose(samples, [[20.5, 410], [np.nan, 411], [20.8, 413]])
    assert got[0].start_ns == 1_795_227_420 * SECOND
    assert replay.channels == ("temp", "co2")
    assert replay.counters["lines.malformed"] == 3


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 1e3), ("us", 1e6), ("ns", 1e9)])
async def test_times_since_1970_are_read_in_any_unit(tmp_path: Path, unit: str, factor: float) -> None:
    rows = [f"{int((1_763_691_420 + n) * factor)},{n}" for n in range(3)]
    (tmp_path / "r.csv").write_text("t,x\n" + "\n".join(rows))

    got, _ = await replayed(tmp_path / "r.csv", time="t", keep_times=True)

    assert got[0].start_ns == 1_763_691_420 * SECOND
    assert sum(len(reading.samples) for reading in got) == 3


async def test_a_parquet_file_gives_the_same_as_the_csv(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    times = np.array(["2026-11-21T02:17:00", "2026-11-21T02:17:01", "2026-11-21T02:17:02"], "datetime64[ns]")
    table = pyarrow.table({"time": times, "co2": [410, 411, 412], "temp": [20.5, None, 20.7], "note": ["a", "b", "c"]})
    parquet.write_table(table, tmp_path / "r.parquet")

    got, _ = await replayed(tmp_path / "r.parquet", time="time", channels=("temp", "co2"), keep_times=True)

    samples = np.concatenate([reading.samples for reading in got])
    np.testing.assert_allclose(samples, [[20.5, 410], [np.nan, 411], [20.7, 412]])
    assert got[0].start_ns == 1_795_227_420 * SECOND


@pytest.mark.parametrize(
    ("name", "text", "options", "says"),
    [
        ("r.csv", "t,x\n1,2\n", {"time": "tt"}, r"no column 'tt'.*Did you mean 't'"),
        ("r.csv", "t,x\n1,2\n", {"time": "t", "channels": ("y",)}, r"no column 'y'"),
        ("r.csv", "t,x\nq,w\n", {"time": "t"}, "no line that can be read; 1 could not"),
        ("r.csv", "t,x\n1,2\n", {"time": "t", "keep_times": True}, "does not say when"),
        ("r.csv", "x\n1\n", {"units": ("V", "A")}, "2 units for 1 channels"),
        ("r.txt", "x\n1\n", {}, "ends in .npz, .csv, .parquet"),
    ],
)
def test_a_mistake_about_a_recording_is_told(
    tmp_path: Path, name: str, text: str, options: dict[str, object], says: str
) -> None:
    (tmp_path / name).write_text(text)

    with pytest.raises(ConfigError, match=says):
        Replay("thing", Replay.Options(file=tmp_path / name, rate_hz=1.0, **options), clock=SystemClock())  # type: ignore[arg-type]


def test_a_file_that_is_no_parquet_is_a_sensor_error(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "r.parquet").write_bytes(b"no parquet")

    with pytest.raises(SensorError, match="cannot be read"):
        Replay("thing", Replay.Options(file=tmp_path / "r.parquet", rate_hz=1.0), clock=SystemClock())
