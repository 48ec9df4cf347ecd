from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import anyio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_sdk.base.clock import SystemClock
from edge_sdk.base.errors import SensorError
from edge_sdk.sensors.iio import Iio
from edge_sdk.sensors.iio_buffer import Element, IioBuffer, Layout
from tests.sensors.stands import DEVICE, IIO, SCAN, STANDS, scans, tree
from tests.sensors.test_conformance import until

pytestmark = pytest.mark.anyio


def iio(directory: Path, *channels: str, device: str = "lsm6dsox", **files: str) -> Iio:
    tree(directory / DEVICE, IIO | files)
    return Iio(
        "thing",
        Iio.Options(device=device, channels=channels, rate_hz=50, sysfs=directory),
        clock=SystemClock(),
    )


@pytest.mark.parametrize(
    ("channel", "value", "unit"),
    [
        ("accel_x", 0.0598, "m/s²"),
        ("accel_y", -0.1196, "m/s²"),
        ("temp", 26.0, "°C"),
        ("voltage0", 1.65, "V"),
        ("humidityrelative", 43.21, "%"),
    ],
)
async def test_counts_become_units(tmp_path: Path, channel: str, value: float, unit: str) -> None:
    sensor = iio(tmp_path, channel)

    [reading] = await until(sensor.run, 1)

    assert reading.samples[0, 0] == pytest.approx(value, rel=1e-4)
    assert sensor.units == (unit,)


async def test_a_channels_own_scale_goes_before_the_shared_one(tmp_path: Path) -> None:
    sensor = iio(tmp_path, "voltage0", in_voltage0_scale="1000")

    [reading] = await until(sensor.run, 1)

    assert reading.samples[0, 0] == 2048


async def test_a_channel_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(SensorError, match=r"no channel 'accel_w'; it has .*accel_x, .*temp"):
        await iio(tmp_path, "accel_w").run(lambda reading: anyio.sleep(1))


async def test_two_devices_of_one_name_are_told_apart_by_their_label(tmp_path: Path) -> None:
    tree(tmp_path / "bus/iio/devices/iio:device1", IIO | {"label": "left", "in_temp_raw": "0"})
    with pytest.raises(SensorError, match="name one of iio:device0, iio:device1"):
        await iio(tmp_path, "temp").run(lambda reading: anyio.sleep(1))

    [reading] = await until(iio(tmp_path, "temp", device="left").run, 1)

    assert reading.samples[0, 0] == pytest.approx(25.0)


async def test_a_channel_without_a_value_is_not_measured_and_counted(tmp_path: Path) -> None:
    sensor = iio(tmp_path, "temp", "voltage0", in_voltage0_raw="")

    [reading] = await until(sensor.run, 1)

    assert np.isnan(reading.samples[0, 1])
    assert np.isfinite(reading.samples[0, 0])
    assert sensor.counters["channels.unreadable"] >= 1


# ---- buffered


async def test_blocks_of_the_buffer_are_decoded_in_the_order_that_was_asked_for(tmp_path: Path) -> None:
    with STANDS["iio_buffer"](tmp_path) as stand:
        sensor = IioBuffer("thing", IioBuffer.Options(**stand.options), clock=SystemClock())
        came = await until(sensor.run, 4)
        enabled = (tmp_path / "sys" / DEVICE / "buffer/enable").read_text()
        chosen = {
            name: (tmp_path / "sys" / DEVICE / f"scan_elements/in_{name}_en").read_text().strip()
            for name in ("accel_x", "accel_y", "accel_z", "timestamp")
        }

    samples = np.concatenate([reading.samples for reading in came])
    counted = samples[:, 0] / 0.000598
    np.testing.assert_allclose(np.diff(counted), 1, atol=1e-2)
    np.testing.assert_allclose(samples[:, 1], -samples[:, 0], rtol=1e-3, atol=1e-6)  # x goes down as z goes up
    assert all(reading.times_ns is not None and reading.rate_hz == 100 for reading in came)
    assert chosen == {"accel_x": "1", "accel_y": "0", "accel_z": "1", "timestamp": "1"}
    assert enabled.strip() == "0"  # it is switched off again


async def test_times_of_the_monotonic_clock_become_times_since_1970(tmp_path: Path) -> None:
    device = tree(tmp_path / "sys" / DEVICE, IIO | SCAN | {"current_timestamp_clock": "monotonic"})
    (tmp_path / "dev").mkdir()
    os.mkfifo(tmp_path / "dev" / device.name)
    fd = os.open(tmp_path / "dev" / device.name, os.O_RDWR | os.O_NONBLOCK)
    options = IioBuffer.Options(
        device=device.name, channels=("accel_z", "accel_x"), rate_hz=100, sysfs=tmp_path / "sys", dev=tmp_path / "dev"
    )
    try:
        os.write(fd, scans(0, 3, time.monotonic_ns()))
        [reading] = await until(IioBuffer("thing", options, clock=SystemClock()).run, 1)
    finally:
        os.close(fd)

    assert abs(reading.start_ns - time.time_ns()) < 10e9


@pytest.mark.parametrize("spoilt", ["le:s16/16X3>>0", "s16", "", "le:s16/24>>0", "le:q16/16>>0"])
def test_a_scan_element_of_another_form_is_refused(spoilt: str) -> None:
    with pytest.raises(SensorError, match="wanted is one like"):
        Element.parse(spoilt)


@settings(max_examples=100)
@given(
    storage=st.sampled_from([8, 16, 32, 64]),
    order=st.sampled_from(["le", "be"]),
    sign=st.sampled_from(["s", "u"]),
    data=st.data(),
)
def test_a_count_survives_packing_at_any_width(storage: int, order: str, sign: str, data: st.DataObject) -> None:
    bits = data.draw(st.integers(1, min(storage, 63)))
    shift = data.draw(st.integers(0, storage - bits))
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if sign == "s" else (0, (1 << bits) - 1)
    counts = data.draw(st.lists(st.integers(low, high), min_size=1, max_size=5))
    element = Element.parse(f"{order}:{sign}{bits}/{storage}>>{shift}")
    noise = data.draw(st.integers(0, (1 << shift) - 1))
    stored = [(((count & ((1 << bits) - 1)) << shift) | noise) for count in counts]

    decoded = Layout({"x": element}).decode(np.array(stored, np.uint64).astype(element.dtype()).tobytes())

    assert decoded["x"].tolist() == counts


def test_the_real_iio_dummy_of_the_kernel() -> None:
    """Where the kernel has the module and we may load it."""
    if shutil.which("modprobe") is None:
        pytest.skip("modprobe is not installed here")
    loaded = subprocess.run(["modprobe", "iio_dummy"], capture_output=True, text=True, check=False)
    if loaded.returncode != 0:
        pytest.skip(f"the kernel here has no iio_dummy that we may load: {loaded.stderr.strip()}")
    device = Path("/sys/kernel/config/iio/devices/dummy/edge")
    device.mkdir()
    try:
        options = Iio.Options(device="edge", channels=("voltage0", "accel_x"), rate_hz=20)
        [reading] = anyio.run(until, Iio("thing", options, clock=SystemClock()).run, 1)
        assert np.isfinite(reading.samples).all()
    finally:
        device.rmdir()
