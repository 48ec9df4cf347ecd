"""Each example's station.yaml is one that a station takes, and plays what its script puts beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_sdk.config.station import read_station
from edge_sdk.demo.exercises import RATE_HZ, SENSORS, Recording
from edge_sdk.sensors.recording import Recording as Played
from examples.city_air import run as city_air
from examples.city_air.data import CHANNELS, HOUR_NS, Station
from examples.smartwatch import run as smartwatch

ROOT = Path(__file__).parent.parent.parent / "examples"


@pytest.mark.parametrize(
    "path", sorted(ROOT.rglob("station*.yaml")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_a_station_takes_it_and_each_model_has_its_sensor(path: Path) -> None:
    config = read_station(path)
    [stream] = config.streams.values()
    assert {model.bundle.stem for model in stream.models} == set(config.sensors)


@pytest.mark.parametrize("kinds", [("gas", "weather"), ("gas", "weather", "history")])
def test_a_year_of_air_is_put_where_the_station_looks_for_it(kinds: tuple[str, ...], tmp_path: Path) -> None:
    hours = 5
    samples = {kind: np.full((hours, len(CHANNELS[kind])), 7, dtype=np.float32) for kind in CHANNELS}
    samples["gas"][2] = np.nan
    station = Station("Tiantan", city_air.TEST_FROM + HOUR_NS * (np.arange(hours) - 1), samples, np.ones(hours))

    city_air.put_station(tmp_path, station, kinds)

    config = read_station(tmp_path / "station.yaml")
    assert set(config.sensors) == set(kinds)
    for kind, sensor in config.sensors.items():
        options = sensor.options
        played = Played.read(tmp_path / options["file"], rate_hz=options["rate_hz"], array=options["samples"])
        assert played.times_s.tolist() == [0.0, 3600.0, 7200.0, 10800.0]
        np.testing.assert_array_equal(played.samples, samples[kind][1:])
        assert options["start"] == city_air.TEST_FROM


def test_exercises_are_put_where_the_station_looks_for_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    done = [Recording(1, "left", "row", RATE_HZ, rng.normal(size=(70, 6)).astype(np.float32)) for _ in range(2)]

    smartwatch.put_station(tmp_path, done)

    config = read_station(tmp_path / "station.yaml")
    for name, columns in SENSORS.items():
        options = config.sensors[name].options
        played = Played.read(tmp_path / options["file"], rate_hz=options["rate_hz"], array=options["samples"])
        assert len(played.times_s) == 140
        assert played.times_s[69] == pytest.approx(69 / RATE_HZ)
        assert played.times_s[70] > 100
        np.testing.assert_array_equal(played.samples[70:], done[1].samples[:, columns])
