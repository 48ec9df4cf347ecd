"""Commands from the command line, to a real station."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from edge_sdk.base.errors import CommandError, ConfigError, TransportError
from edge_sdk.cli import commands
from tests.brokers import RunningBroker
from tests.station.process import numbered
from tests.station.remote.test_changes import changed, new_bundle


def remote(broker: RunningBroker, *words: str) -> Result:
    where = ["--broker", broker.url, "--site", "roof", "--station", "alone"]
    return CliRunner().invoke(commands, ["remote", *where, *words])


def test_a_station_is_commanded_from_the_command_line(config: Path, broker: RunningBroker) -> None:
    path = new_bundle(config)
    with changed(config, broker):
        ping = remote(broker, "--json", "-", "ping")
        setting = remote(broker, "config-set", '{"health_every_s": 1}', "--healthy-within-s", "2")
        bundle = remote(broker, "bundle-install", str(path), "--canary-s", "0.5", "--healthy-within-s", "2")
        refused = remote(broker, "config-set", '{"trust": null}')
        not_allowed = remote(broker, "snapshot")
        nonsense = remote(broker, "config-set", "[1]")
        before = numbered(config.parent)

    assert json.loads(ping.stdout)["result"]["working"] is True
    assert "config-set: done" in setting.output, setting.output
    assert "bundle-install: done" in bundle.output, bundle.output
    assert "works beside tiny" in bundle.output
    assert isinstance(refused.exception, CommandError)
    assert refused.exception.reason == "fixed"
    assert isinstance(not_allowed.exception, CommandError)
    assert isinstance(nonsense.exception, ConfigError)
    assert before > 0


def test_nobody_there_is_said_with_what_to_look_at(broker: RunningBroker) -> None:
    answer = remote(broker, "ping")

    assert isinstance(answer.exception, TransportError)
    assert "remote: allow:" in str(answer.exception)
