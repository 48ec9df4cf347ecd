from __future__ import annotations

from pathlib import Path

import anyio
import numpy as np
import pytest

from edge_sdk.base.clock import SystemClock
from edge_sdk.base.errors import ConfigError, SensorError
from edge_sdk.sensors.hwmon import Hwmon, Thermal
from tests.sensors.stands import HWMON, THERMAL, tree
from tests.sensors.test_conformance import ignore, until

pytestmark = pytest.mark.anyio


def hwmon(directory: Path, *channels: str, chip: str = "ina219") -> Hwmon:
    tree(directory, HWMON)
    return Hwmon("box", Hwmon.Options(chip=chip, channels=channels, rate_hz=50, sysfs=directory), clock=SystemClock())


async def test_milli_and_micro_units_become_units(tmp_path: Path) -> None:
    sensor = hwmon(tmp_path, "in1", "curr1", "power1", "fan1")

    [reading] = await until(sensor.run, 1)

    np.testing.assert_allclose(reading.samples[0], [5.013, 0.73, 3.659, 1200], rtol=1e-5)
    assert sensor.units == ("V", "A", "W", "rpm")


async def test_a_chip_is_found_by_its_name_wherever_it_was_numbered(tmp_path: Path) -> None:
    [reading] = await until(hwmon(tmp_path, "temp1", chip="cpu_thermal").run, 1)

    assert reading.samples[0, 0] == 48.5


def test_a_channel_that_hwmon_cannot_have_is_a_mistake_in_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'voltage1'.*temp, in, fan"):
        hwmon(tmp_path, "voltage1")


async def test_a_channel_that_the_chip_has_not_is_told_with_those_that_it_has(tmp_path: Path) -> None:
    with pytest.raises(SensorError, match=r"hwmon1 has curr1, fan1, in1, power1"):
        await hwmon(tmp_path, "temp1").run(ignore)


async def test_zones_are_found_by_type_and_by_number(tmp_path: Path) -> None:
    tree(tmp_path, THERMAL)
    options = Thermal.Options(zones=("gpu-thermal", "thermal_zone0"), rate_hz=50, sysfs=tmp_path)

    [reading] = await until(Thermal("cpu", options, clock=SystemClock()).run, 1)

    np.testing.assert_allclose(reading.samples[0], [58.0, 61.2])


async def test_a_zone_that_is_switched_off_is_counted_until_it_is_on(tmp_path: Path) -> None:
    tree(tmp_path, THERMAL | {"class/thermal/thermal_zone1/temp": "off"})
    sensor = Thermal("cpu", Thermal.Options(zones=("gpu-thermal",), rate_hz=50, sysfs=tmp_path), clock=SystemClock())

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(sensor.run, ignore)
            while sensor.counters["samples.unreadable"] < 2:
                await anyio.sleep(0.005)
            tree(tmp_path, THERMAL)
            group.cancel_scope.cancel()

    [reading] = await until(sensor.run, 1)
    assert reading.samples[0, 0] == 58.0
