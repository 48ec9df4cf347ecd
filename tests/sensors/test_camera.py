from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from edge_sdk.base.clock import SystemClock
from edge_sdk.base.errors import ConfigError, MissingExtraError, SensorError
from edge_sdk.contract.manifest import Windowing
from edge_sdk.contract.reading import Reading
from edge_sdk.sensors.camera import Camera, ImageFolder
from edge_sdk.windowing.windower import Windower
from tests.sensors.stands import STANDS, picture
from tests.sensors.test_conformance import ignore, until

pytestmark = pytest.mark.anyio


def folder(path: Path, **options: Any) -> ImageFolder:
    given = {"width": 8, "height": 6, "frames_hz": 50, **options}
    return ImageFolder("eye", ImageFolder.Options(folder=path, **given), clock=SystemClock())


async def test_images_come_in_the_order_of_their_names_and_bad_ones_are_counted(tmp_path: Path) -> None:
    for name, value in (("b.png", 100), ("a.jpg", 20), ("c.bmp", 200)):
        picture(tmp_path / name, value)
    bad(tmp_path)
    sensor = folder(tmp_path)

    came = await until(sensor.run, 10)

    upper = [float(np.median(reading.samples[:24])) for reading in came]
    assert upper == pytest.approx([20, 100, 200], abs=3)
    assert all(reading.samples.shape == (48, 1) for reading in came)
    assert sensor.counters["frames.malformed"] == 2


def bad(path: Path) -> None:
    (path / "aa.png").write_bytes(b"no picture")
    (path / "bb.png").write_bytes(b"")
    (path / "notes.txt").write_text("no picture either")


async def test_colours_are_red_green_and_blue(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 0)
    sensor = folder(tmp_path, colours="rgb")

    [reading] = await until(sensor.run, 1)

    assert reading.samples[-1].tolist() == [255, 0, 0]
    assert sensor.channels == ("red", "green", "blue")


async def test_images_that_come_later_are_seen_where_that_is_wanted(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 1)
    came: list[Reading] = []

    async def emit(reading: Reading) -> None:
        came.append(reading)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(folder(tmp_path, follow=True).run, emit)
            while len(came) < 1:
                await anyio.sleep(0.005)
            picture(tmp_path / "b.png", 2)
            while len(came) < 2:
                await anyio.sleep(0.005)
            group.cancel_scope.cancel()


async def test_a_frame_is_exactly_one_window_of_a_model_for_images(tmp_path: Path) -> None:
    for n in range(5):
        picture(tmp_path / f"{n}.png", 40 * n)
    sensor = folder(tmp_path)
    windower = Windower(Windowing(length=48, stride=48, rate_hz=48 * 50), sensor="eye", channels=1)

    came = await until(sensor.run, 5)
    windows = [window for reading in came for window in windower.push(reading)] + windower.flush()

    whole = [window for window in windows if window.coverage == 1.0]
    assert len(whole) == 5
    for window, reading in zip(whole, came, strict=True):
        np.testing.assert_array_equal(window.samples, reading.samples)
        assert window.start_ns == reading.start_ns


async def test_of_a_camera_as_many_frames_are_taken_as_are_wanted(tmp_path: Path) -> None:
    with STANDS["camera"](tmp_path) as stand:
        sensor = Camera("eye", Camera.Options(**stand.options | {"frames_hz": 10}), clock=SystemClock())
        came = await until(sensor.run, 4)

    starts = [reading.start_ns for reading in came]
    assert min(np.diff(starts)) >= 99_000_000
    assert sensor.counters["frames.passed_over"] > 0


async def test_a_camera_that_is_not_there_says_what_to_check() -> None:
    sensor = Camera("eye", Camera.Options(device="/dev/video99", width=8, height=6), clock=SystemClock())

    with pytest.raises(SensorError, match=r"/dev/video99 cannot be opened.*group video"):
        await sensor.run(ignore)


def test_a_camera_whose_library_is_not_here_says_how_to_get_it() -> None:
    with pytest.raises(MissingExtraError, match=r"edge-sdk\[camera\].*python3-picamera2"):
        Camera("eye", Camera.Options(driver="picamera2", device="0", width=8, height=6), clock=SystemClock())


def test_to_begin_again_and_to_wait_for_more_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="exclude"):
        folder(tmp_path, repeat=True, follow=True)
