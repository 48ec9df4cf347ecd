from __future__ import annotations

from pathlib import Path

import pytest

from edge_sdk.base.errors import ConfigError
from edge_sdk.base.yaml import parse_yaml, read_yaml
from edge_sdk.config.station import StationConfig, read_station

GOOD = """\
site: city
station: gate-7
state_directory: state
sensors:
  light: {kind: simulated, options: {rate_hz: 1}}
streams:
  occupancy:
    models:
      - bundle: light.edge
        sensor: light
"""


def test_a_good_file_is_read_and_its_paths_begin_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "station.yaml").write_text(GOOD)

    config = read_station(tmp_path / "station.yaml")

    assert config.streams["occupancy"].models[0].bundle == tmp_path / "light.edge"
    assert config.state_directory == tmp_path / "state"
    assert config.broker.url == "mqtt://127.0.0.1:1883"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("station: gate-7", "statoin: gate-7", r"test.yaml:2: statoin: .*unknown field.*Did you mean 'station'"),
        ("sensor: light", "sensr: light", r"test.yaml:10: streams.*sensr.*Did you mean 'sensor'"),
        ("site: city", "site: ci/ty", r"test.yaml:1: site: "),
        (
            "{kind: simulated, options: {rate_hz: 1}}",
            "{options: {}}",
            r"test.yaml:5: sensors.*missing required.*`kind`",
        ),
        ("site: city", "site: city\nsite: town", r"test.yaml:2: 'site' stands twice"),
        ("site: city", "site: [", r"test.yaml:\d+:\d+: not YAML"),
        ("bundle: light.edge", "bundle: 7", r"test.yaml:9: .*"),
        (
            "    models:",
            "    align: sometimes\n    models:",
            r"test.yaml:8: streams.*[Ii]nvalid enum value 'sometimes'",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line(old: str, new: str, says: str) -> None:
    assert old in GOOD

    with pytest.raises(ConfigError, match=says):
        parse_yaml(GOOD.replace(old, new), StationConfig, source="test.yaml")


def test_a_model_of_an_unknown_sensor_offers_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "station.yaml").write_text(GOOD.replace("sensor: light", "sensor: lihgt"))

    with pytest.raises(ConfigError, match=r"no sensor 'lihgt'.*Did you mean 'light'"):
        read_station(tmp_path / "station.yaml")


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(tmp_path / "none.yaml", StationConfig)


def test_an_empty_file_is_not_a_station() -> None:
    with pytest.raises(ConfigError, match="missing required field"):
        parse_yaml("", StationConfig, source="test.yaml")
