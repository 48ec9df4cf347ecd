from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge_sdk.base import plugins
from edge_sdk.base.errors import ConfigError, PluginError, SensorError
from edge_sdk.cli import commands
from tests.sensors.stands import THERMAL, sds011_frame, talking, tree


def sensors(*words: str) -> Result:
    return CliRunner().invoke(commands, ["sensors", *words])


def test_every_kind_is_listed_with_what_it_is() -> None:
    kinds = json.loads(sensors("list", "--json", "-").output)

    assert set(kinds) == set(plugins.found("edge_sdk.sensors"))
    assert all(kinds.values())
    assert "sds011" in sensors("list").output


@pytest.mark.parametrize("kind", sorted(plugins.found("edge_sdk.sensors")))
def test_the_options_of_each_kind_can_be_shown(kind: str) -> None:
    shown = sensors("show", kind)

    assert shown.exit_code == 0, shown.output
    assert plugins.load("edge_sdk.sensors", kind).Options.__struct_fields__[0] in shown.output
    assert "$defs" in json.loads(sensors("show", kind, "--json", "-").output)


def test_a_sensor_is_read_for_a_while_and_summed_up(tmp_path: Path) -> None:
    with talking(tmp_path / "tty", lambda turn: sds011_frame(1, 2.5) + b"noise") as pty:
        said = sensors("read", "sds011", f"port={pty.link}", "rate_hz=20", "--seconds", "1")
        told = json.loads(sensors("read", "sds011", f"port={pty.link}", "--seconds", "1", "--json", "-").output)

    assert said.exit_code == 0, said.output
    assert "pm2_5 1 µg/m³  pm10 2.5 µg/m³" in said.output
    assert "bytes.skipped" in said.output
    assert told["channels"] == {"pm2_5": "µg/m³", "pm10": "µg/m³"}
    assert told["last"] == [1.0, 2.5]
    assert told["samples"] > 5


def test_options_may_be_lists_and_mappings(tmp_path: Path) -> None:
    tree(tmp_path, THERMAL)

    said = sensors(
        "read", "thermal", "zones=[cpu-thermal, gpu-thermal]", f"sysfs={tmp_path}", "rate_hz=20", "--seconds=1"
    )

    assert "cpu-thermal 61.2 °C  gpu-thermal 58 °C" in said.output


@pytest.mark.parametrize(
    ("words", "kind", "says"),
    [
        (["sds11"], PluginError, "Did you mean 'sds011'"),
        (["sds011", "prt=/dev/null"], ConfigError, "Did you mean 'port'"),
        (["sds011", "/dev/ttyUSB0"], ConfigError, "wanted is OPTION=VALUE"),
        (["sds011", "port=/dev/not-there", "--seconds", "0.3"], SensorError, "/dev/not-there"),
    ],
)
def test_a_mistake_is_told_with_its_cure(words: list[str], kind: type[Exception], says: str) -> None:
    failed = sensors("read", *words)

    assert isinstance(failed.exception, kind)
    assert says in str(failed.exception)
