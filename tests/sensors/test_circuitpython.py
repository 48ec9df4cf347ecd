from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_sdk.base.clock import SystemClock
from edge_sdk.base.errors import ConfigError, EdgeError, MissingExtraError, SensorError
from edge_sdk.sensors.circuitpython import CircuitPython
from tests.sensors.test_conformance import ignore, until

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parent.parent.parent


def chip(file: Path, channels: dict[str, str], **options: Any) -> CircuitPython:
    given: dict[str, Any] = {
        "driver": "tests.sensors.drivers.Motion",
        "bus": "none",
        "arguments": {"file": str(file)},
        "rate_hz": 50,
    }
    return CircuitPython("chip", CircuitPython.Options(channels=channels, **given | options), clock=SystemClock())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "chip").write_text("20.5 0.1 0.2 9.8")
    return tmp_path / "chip"


def say(file: Path, text: str) -> None:
    file.write_text(text)


async def test_properties_and_parts_of_them_are_channels_with_known_units(file: Path) -> None:
    sensor = chip(file, {"t": "temperature", "z": "acceleration.2", "dust": "read().pm25 env"})

    [reading] = await until(sensor.run, 1)

    np.testing.assert_allclose(reading.samples[0], [20.5, 9.8, 7.0], rtol=1e-6)
    assert sensor.units == ("°C", "m/s²", "")


async def test_a_property_is_read_once_for_all_channels_made_of_it(file: Path) -> None:
    sensor = chip(file, {"x": "acceleration.0", "y": "acceleration.1", "z": "acceleration.2", "n": "read().reads"})

    [reading] = await until(sensor.run, 1)

    assert reading.samples[:, 3].tolist() == [n + 1 for n in range(len(reading.samples))]


async def test_a_value_that_the_chip_does_not_have_is_not_measured(file: Path) -> None:
    say(file, "0 0.1 0.2 9.8")
    sensor = chip(file, {"t": "temperature", "z": "acceleration.2", "q": "acceleration.7"})

    [reading] = await until(sensor.run, 1)

    assert np.isnan(reading.samples[0]).tolist() == [True, False, True]
    assert sensor.counters["values.missing"] >= 2


async def test_a_reading_that_fails_now_and_then_is_a_gap_and_one_that_fails_for_long_is_a_loss(file: Path) -> None:
    say(file, "bad")
    sensor = chip(file, {"t": "temperature"})

    with pytest.raises(SensorError, match="one after the other failed: Checksum"):
        await sensor.run(ignore)
    assert sensor.counters["samples.failed"] > 10

    say(file, "21 0 0 0")
    assert len(await until(sensor.run, 1)) == 1


async def test_a_chip_that_does_not_answer_is_told_with_what_to_check(tmp_path: Path) -> None:
    with pytest.raises(SensorError, match=r"No I2C device at address: 0x6a.*i2cdetect"):
        await chip(tmp_path / "none", {"t": "temperature"}).run(ignore)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"driver": "tests.sensors.drivers.Motionn"}, "Did you mean 'Motion'"),
        ({"driver": "tests.sensors.no_drivers.Motion"}, "cannot be imported"),
        ({"channels": {"t": "temprature"}}, "Did you mean 'temperature'"),
        ({"arguments": {"files": "x"}}, "Check `bus` and `arguments`"),
    ],
)
async def test_a_wrong_name_is_told_with_the_nearest(file: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(SensorError, match=says):
        await chip(file, **{"channels": {"t": "temperature"}, **options}).run(ignore)


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        (
            {"driver": "adafruit_bme280.basic.Adafruit_BME280_I2C"},
            MissingExtraError,
            r"pip install 'edge-sdk\[i2c\]' adafruit-circuitpython-bme280",
        ),
        ({"bus": "i2c"}, MissingExtraError, r"I²C or SPI.*pip install 'edge-sdk\[i2c\]'"),
        ({"arguments": {"pin": "board.D4"}}, MissingExtraError, r"pip install 'edge-sdk\[i2c\]'"),
        ({"driver": "Motion"}, ConfigError, "wanted is one like"),
        ({"bus": "spi"}, ConfigError, "go together"),
        ({"chip_select": "D5"}, ConfigError, "go together"),
    ],
)
def test_what_is_missing_is_told_before_anything_is_opened(
    file: Path, options: dict[str, Any], kind: type[EdgeError], says: str
) -> None:
    with pytest.raises(kind, match=says):
        chip(file, {"t": "temperature"}, **options)


# A board with two buses, as Blinka makes it: modules of the names that drivers import.
BOARD = """
D4, D5 = 4, 5
class Bus:
    def __init__(self, name): self.name = name
    def ask(self, address): return {"i2c": 1000, "spi": 2000}[self.name] + address
i2c, spi = Bus("i2c"), Bus("spi")
def I2C(): return i2c
def SPI(): return spi
"""
EXTENDED = """
from board import Bus
def ExtendedI2C(number): return Bus({7: "i2c"}[number])
"""
READ = """
import json, sys, anyio, msgspec
from edge_sdk.base.clock import SystemClock
from edge_sdk.base.errors import EdgeError
from edge_sdk.sensors.circuitpython import CircuitPython
from tests.sensors.test_conformance import until
try:
    options = msgspec.convert(json.loads(sys.argv[1]), CircuitPython.Options)
    sensor = CircuitPython("chip", options, clock=SystemClock())
    [reading] = anyio.run(until, sensor.run, 1)
    print(json.dumps(reading.samples[0].tolist()))
except Exception as error:
    while not isinstance(error, EdgeError):
        [error] = error.exceptions  # of a task group
    print(json.dumps(str(error)))
"""


def on_a_board(directory: Path, **options: Any) -> Any:
    """What a process sees that has such a board."""
    (directory / "board.py").write_text(BOARD)
    (directory / "digitalio.py").write_text("def DigitalInOut(pin): return pin")
    (directory / "adafruit_extended_bus.py").write_text(EXTENDED)
    given = {"driver": "tests.sensors.drivers.OnBus", "channels": {"p": "pressure"}, "rate_hz": 50} | options
    done = subprocess.run(
        [sys.executable, "-c", READ, json.dumps(given)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
        env={"PYTHONPATH": f"{directory}:{ROOT}", "PATH": "/usr/bin:/bin"},
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        ({}, [1000 + 0x77]),
        ({"address": 0x76}, [1000 + 0x76]),
        ({"bus_number": 7}, [1000 + 0x77]),
        (
            {
                "bus": "spi",
                "chip_select": "D5",
                "arguments": {"power": "board.D4"},
                "channels": {"s": "pins.0", "p": "pins.1"},
            },
            [1, 1],
        ),
    ],
)
def test_a_driver_gets_bus_address_and_pins(tmp_path: Path, options: dict[str, Any], answer: Any) -> None:
    assert on_a_board(tmp_path, **options) == answer


def test_a_pin_that_the_board_has_not_is_told_with_the_nearest(tmp_path: Path) -> None:
    assert "no pin 'D44'. Did you mean 'D4'" in on_a_board(tmp_path, arguments={"power": "board.D44"})
