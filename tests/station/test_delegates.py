"""A station whose delegate fails in service: every window has its result, and everybody is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from click.testing import CliRunner

from edge_sdk.cli import commands
from tests.brokers import RunningBroker
from tests.station.ear import listening
from tests.station.process import running


def with_delegate(config: Path, library: str, options: str) -> None:
    """Put the library beside the configuration and name it there."""
    shutil.copy(library, config.parent)
    delegate = f"{{name: coral, library: ./{Path(library).name}, options: {options}}}"
    model = f"{{bundle: tiny.edge, runtime: litert, delegates: [{delegate}]}}"
    config.write_text(config.read_text().replace("{bundle: tiny.edge}", model) + "health_every_s: 0.5\n")


def test_a_delegate_that_fails_in_service_is_announced_and_comes_back(
    config: Path, broker: RunningBroker, delegate_library: str, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.touch()
    with_delegate(config, delegate_library, f"{{mode: fail, at: 40, broken: {broken}}}")

    with listening(broker.port) as ear, running(config):
        first = ear.wait_for("/birth").data["models"][0]
        lost = ear.wait(lambda said: "/event/" in said.topic and said.data["name"] == "delegate.lost")
        while_lost = ear.wait(lambda said: said.topic.endswith("/birth") and said.data["models"][0]["fallback"] != "")
        flagged = ear.wait(lambda said: said.topic.endswith("/result/level") and said.data["flags"] != [])
        health = ear.wait(lambda said: said.topic.endswith("/health") and "fallback" in str(said.payload))
        broken.unlink()
        returned = ear.wait(lambda said: "/event/" in said.topic and said.data["name"] == "delegate.returned")
        again = ear.wait_for("/birth", after=ear.said.index(while_lost) + 1).data["models"][0]
        said = ear.said

    assert (first["delegates"], first["fallback"]) == (["coral", "xnnpack"], "")
    assert [part["share_of_operations"] for part in first["coverage"]] == [0.5, 0.5]
    assert (lost.topic.split("/")[-1], returned.topic.split("/")[-1]) == ("warning", "info")
    assert while_lost.retain is False  # heard live; the broker keeps it for those who come later
    assert while_lost.data["models"][0]["delegates"] == ["xnnpack"]
    assert flagged.data["flags"] == ["fallback.tiny"]
    assert "fallback.tiny" in health.data["flags"]
    assert health.data["counters"]["level.delegate.lost.tiny"] == 1
    assert (again["delegates"], again["fallback"]) == (["coral", "xnnpack"], "")
    results = [one.data for one in said if one.topic.endswith("/result/level")]
    assert [one["seq"] for one in results] == list(range(1, len(results) + 1))
    assert {one["contributors"][0]["state"] for one in results} == {"fresh"}


def test_a_delegate_that_is_not_there_stops_the_check_unless_the_cpu_may_do(
    config: Path, delegate_library: str
) -> None:
    with_delegate(config, delegate_library, "{mode: refuse}")
    refused = CliRunner().invoke(commands, ["station", "check", str(config), "--no-broker", "--json", "-"])
    config.write_text(config.read_text().replace("refuse}}]", "refuse}}], fallback: cpu"))
    allowed = CliRunner().invoke(commands, ["station", "check", str(config), "--no-broker", "--json", "-"])

    assert refused.exit_code == 69
    assert "finds no device" in refused.stdout
    assert allowed.exit_code == 0, allowed.stdout
    assert any("FALLBACK" in finding["detail"] for finding in json.loads(allowed.stdout))
