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
        ("station: gate-7", "statoin: gate-7", r"test.yaml:2:1: statoin: .*unknown field.*Did you mean 'station'"),
        ("sensor: light", "sensr: light", r"test.yaml:10:9: streams.*sensr.*Did you mean 'sensor'"),
        ("site: city", "site: ci/ty", r"test.yaml:1:1: site: "),
        (
            "{kind: simulated, options: {rate_hz: 1}}",
            "{options: {}}",
            r"test.yaml:5:3: sensors.*missing required.*`kind`",
        ),
        ("site: city", "site: city\nsite: town", r"test.yaml:2:1: 'site' stands twice"),
        ("light: {kind", "l ight: {kind", r"test.yaml:5:3: sensors.l ight: expected `str` matching"),
        (
            "streams:",
            "streams:\n  first: {models: [{bundle: b}]}\n  second: {models: [{bundle: b}, {bundel: c}]}",
            r"test.yaml:8:35: streams.second.models.1.bundel: .*Did you mean 'bundle'",
        ),
        ("sensors:", "sensors:\n  7: {kind: simulated}", r"test.yaml:5:3: sensors.7: .*quotes"),
        ("station: gate-7", "station: 007", r"test.yaml:2:1: station: .*quotes"),
        ("site: city", "site: [", r"test.yaml:\d+:\d+: not YAML"),
        ("bundle: light.edge", "bundle: 7", r"test.yaml:9:9: .*"),
        (
            "    models:",
            "    align: sometimes\n    models:",
            r"test.yaml:8:5: streams.*[Ii]nvalid enum value 'sometimes'",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line(old: str, new: str, says: str) -> None:
    assert old in GOOD

    with pytest.raises(ConfigError, match=says):
        parse_yaml(GOOD.replace(old, new), StationConfig, source="test.yaml")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("sensor: light", "sensor: lihgt", r"station.yaml:10:9: .*no sensor 'lihgt'.*Did you mean 'light'"),
        ("    models:", "    align: tick\n    models:", r"station.yaml:8:5: streams.occupancy.align: .*tick_s"),
        ("    models:", "    base: light\n    models:", r"station.yaml:8:5: streams.occupancy.base: .*basepad"),
        ("    models:", "    tick_s: 5\n    models:", r"station.yaml:8:5: streams.occupancy.tick_s: .*align: tick"),
        ("site: city", "site: city\nbroker: {key_file: k}", r"station.yaml:2:10: broker.key_file: .*certificate_file"),
        ("site: city", "site: city\nbroker: {password_file: p}", r"station.yaml:2:10: .*Give username"),
        ("    models:", "    fusion: {file: f, options: {a: 1}}\n    models:", r"station.yaml:8:23: .*Remove these"),
    ],
)
def test_fields_that_contradict_each_other_are_named_with_their_line(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    assert old in GOOD
    (tmp_path / "station.yaml").write_text(GOOD.replace(old, new))

    with pytest.raises(ConfigError, match=says):
        read_station(tmp_path / "station.yaml")


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(tmp_path / "none.yaml", StationConfig)


def test_an_empty_file_is_not_a_station() -> None:
    with pytest.raises(ConfigError, match="missing required field"):
        parse_yaml("", StationConfig, source="test.yaml")
