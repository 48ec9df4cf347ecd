"""The life of a station as a service: started, watched, loaded anew, failing, stopped."""

from __future__ import annotations

import json
import signal
import time
import urllib.request
from pathlib import Path

from click.testing import CliRunner

from edge_sdk.base.errors import TransportError
from edge_sdk.cli import commands
from edge_sdk.contract.manifest import Windowing
from edge_sdk.contract.trust import SigningKey
from tests.brokers import RunningBroker, mosquitto
from tests.models import LENGTH, tiny_bundle
from tests.station.ear import listening
from tests.station.manager import managing
from tests.station.plugin import FAILING, HANGING, install
from tests.station.process import accepted, numbered, running, wait_for

FAST = Windowing(length=LENGTH, stride=2, rate_hz=50.0)


def replace(config: Path, old: str, new: str) -> None:
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))


def second_bundle(config: Path) -> None:
    """Another bundle beside the first."""
    key = SigningKey.read(config.parent / "key")
    tiny_bundle(config.parent / "other.edge", name="other", seed=9, key=key, windowing=FAST)


def test_systemd_is_told_when_it_is_ready_alive_and_stopping(config: Path) -> None:
    with managing(config.parent, watchdog_s=1.5) as manager, running(config, environment=manager.environment) as one:
        manager.wait_for("READY=1")
        manager.wait_for("WATCHDOG=1", times=3)
        manager.wait_for("STATUS=1 sensors")
        assert one.stop() == 0

    said = [message.split("\n")[0] for _, message in manager.heard]
    assert said.index("READY=1") == min(said.index("READY=1"), said.index("STOPPING=1"))
    assert said.count("STOPPING=1") == 1


def test_the_watchdog_is_not_pinged_while_a_model_hangs_and_the_next_run_says_where(
    config: Path, broker: RunningBroker
) -> None:
    key = SigningKey.read(config.parent / "key")
    tiny_bundle(config.parent / "tiny.edge", key=key, windowing=FAST, answers=((0.2, 0.3, 0.5),))
    replace(config, "{bundle: tiny.edge}", "{bundle: tiny.edge, runtime: hanging}")
    plugin = install(config.parent, "edge_sdk.backends", "hanging", HANGING, "open_hanging")

    with (
        managing(config.parent, watchdog_s=1.5) as manager,
        running(config, environment={**manager.environment, **plugin}) as one,
    ):
        manager.wait_for("READY=1")
        wait_for(lambda: manager.heard and time.monotonic() - last_ping(manager.heard) > 3.0)
        one.process.send_signal(signal.SIGABRT)  # as systemd does
        assert one.process.wait(20) == -signal.SIGABRT

    replace(config, ", runtime: hanging", ", runtime: scripted")
    with listening(broker.port) as ear, running(config):
        event = ear.wait_for("/event/error").data

    assert event["name"] == "station.crashed"
    report = json.loads((config.parent / "state" / event["detail"]["report"]).read_text())
    assert "hanging_plugin.py" in report["trace"]


def last_ping(heard: list[tuple[float, str]]) -> float:
    return max((when for when, message in heard if message == "WATCHDOG=1"), default=heard[0][0])


def test_a_new_configuration_is_loaded_without_a_gap_in_the_numbers(config: Path, broker: RunningBroker) -> None:
    second_bundle(config)
    with listening(broker.port) as ear, managing(config.parent) as manager:
        with running(config, environment=manager.environment) as one:
            ear.wait_for("/result/level")
            replace(config, "tiny.edge", "other.edge")
            one.process.send_signal(signal.SIGHUP)
            later = ear.wait(lambda said: "/result/" in said.topic and by(said.data) == "other")
            ear.wait(lambda said: said.topic.endswith("/event/info") and said.data["name"] == "config.loaded")
            birth = ear.wait(lambda said: said.topic.endswith("/birth") and b'"other"' in said.payload)
            assert one.stop() == 0
        manager.wait_for("RELOADING=1\nMONOTONIC_USEC=")
        assert manager.count("READY=1") == 2

    results = [said.data for said in ear.said if "/result/" in said.topic]
    assert sorted(one["seq"] for one in results) == list(range(1, accepted(config.parent) + 1))
    assert {one["epoch"] for one in results} == {later.data["epoch"]}
    assert birth.data["models"][0]["name"] == "other"
    assert not [said for said in ear.said if said.topic.endswith("/status") and b"offline" in said.payload][:-1]


def by(result: dict[str, list[dict[str, str]]]) -> str:
    return result["contributors"][0]["model"]


def test_a_configuration_that_is_wrong_changes_nothing(config: Path, broker: RunningBroker) -> None:
    with listening(broker.port) as ear, running(config) as one:
        ear.wait_for("/result/level")
        replace(config, "tiny.edge", "gone.edge")
        one.process.send_signal(signal.SIGHUP)
        refused = ear.wait_for("/event/warning").data
        heard = len(ear.said)
        ear.wait_for("/result/level", after=heard)
        assert one.stop() == 0

    assert refused["name"] == "config.refused"
    assert "gone.edge cannot be read" in refused["message"]


def test_what_cannot_change_while_it_runs_is_refused_by_name(config: Path, broker: RunningBroker) -> None:
    with listening(broker.port) as ear, running(config) as one:
        ear.wait_for("/result/level")
        replace(config, "station: alone", "station: elsewhere")
        one.process.send_signal(signal.SIGHUP)
        refused = ear.wait_for("/event/warning").data

    assert "station cannot change while the station runs" in refused["message"]


def test_another_broker_is_taken_and_nothing_is_lost(config: Path, broker: RunningBroker, tmp_path: Path) -> None:
    with (
        mosquitto(tmp_path / "second") as second,
        listening(broker.port) as first_ear,
        listening(second.port) as second_ear,
        running(config) as one,
    ):
        first_ear.wait_for("/result/level")
        replace(config, broker.url, second.url)
        one.process.send_signal(signal.SIGHUP)
        second_ear.wait_for("/result/level")
        assert one.stop() == 0

    seqs = {one["seq"] for ear in (first_ear, second_ear) for one in results_of(ear.said)}
    assert seqs == set(range(1, accepted(config.parent) + 1))


def results_of(said: list) -> list[dict[str, int]]:  # type: ignore[type-arg]
    found = [one.data for one in said if "/result/" in one.topic]
    return found + [each for one in said if one.topic.endswith("/pack") for each in one.data["results"]]


def test_a_broker_that_cannot_even_be_tried_leaves_the_former_one(config: Path, broker: RunningBroker) -> None:
    with listening(broker.port) as ear, running(config) as one:
        ear.wait_for("/result/level")
        replace(config, "delivery: broker", "delivery: broker, username: me, password_file: gone")
        one.process.send_signal(signal.SIGHUP)
        refused = ear.wait(lambda said: said.topic.endswith("/event/warning") and said.data["name"] == "config.refused")
        heard = len(ear.said)
        ear.wait_for("/result/level", after=heard)
        assert one.stop() == 0

    assert "password file" in refused.data["message"]


def test_a_fault_leaves_a_report_and_the_next_run_announces_it(config: Path, broker: RunningBroker) -> None:
    plugin = install(config.parent, "edge_sdk.fusers", "failing", FAILING, "Failing")
    replace(config, "    models:", "    fusion: {method: failing}\n    models:")

    with running(config, environment=plugin) as one:
        assert one.process.wait(20) == 70

    assert "This is a fault in edge-sdk" in one.log
    assert "ExceptionGroup" not in one.log
    [path] = (config.parent / "state").glob("crash-*.json")
    report = json.loads(path.read_text())
    assert "ZeroDivisionError: a fault of the plug-in" in report["errors"][0]
    assert any("station starts" in line for line in report["log"])

    replace(config, "    fusion: {method: failing}\n", "")
    with listening(broker.port) as ear, running(config):
        event = ear.wait_for("/event/error").data
    assert event["message"] == "The last run failed: ZeroDivisionError: a fault of the plug-in"
    assert event["detail"]["report"] == path.name


def test_a_kill_is_announced_by_the_next_run(config: Path, broker: RunningBroker) -> None:
    with running(config) as one:
        wait_for(lambda: numbered(config.parent) >= 5)
        one.process.kill()
        one.process.wait(20)

    with listening(broker.port) as ear, running(config):
        event = ear.wait_for("/event/warning").data

    assert event["name"] == "station.killed"


def test_a_second_signal_ends_the_draining(config: Path, broker: RunningBroker) -> None:
    broker.kill()
    with running(config, "--drain-s", "600") as one:
        wait_for(lambda: numbered(config.parent) >= 5)
        one.process.send_signal(signal.SIGTERM)
        one.says("station is told to stop")
        begun = time.monotonic()
        assert one.stop() == 0

    assert time.monotonic() - begun < 10


def test_status_is_told_on_this_machine(config: Path) -> None:
    replace(config, "sensors:", "status: {port: 0}\nsensors:")
    with running(config, "--log-json") as one:
        wait_for(lambda: "status endpoint listens" in one.log)
        [line] = [line for line in one.log.splitlines() if "status endpoint listens" in line]
        url = json.loads(line)["url"]
        wait_for(lambda: numbered(config.parent) >= 5)
        with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
            metrics = answer.read().decode()
        with urllib.request.urlopen(url, timeout=10) as answer:
            summary = json.loads(answer.read())
        port = url.rpartition(":")[2]
        asked = CliRunner().invoke(commands, ["station", "status", port])

    assert asked.exit_code == 0, asked.output
    assert "model level.tiny" in asked.output
    away = CliRunner().invoke(commands, ["station", "status", port])
    assert isinstance(away.exception, TransportError)
    assert 'edge_model_seconds_count{stream="level",model="tiny"}' in metrics
    assert 'edge_sensor{sensor="thing",state="running"} 1' in metrics
    assert "edge_station_working 1" in metrics
    assert summary["birth"]["models"][0]["name"] == "tiny"
    assert summary["health"]["latencies"]["level.tiny"]["windows"] > 0
    assert len(summary["health"]["inputs"]["level.tiny"]["mean"]) == 2


def test_a_status_port_that_is_taken_is_a_warning(config: Path, broker: RunningBroker) -> None:
    replace(config, "sensors:", f"status: {{port: {broker.port}}}\nsensors:")

    with listening(broker.port) as ear, running(config):
        event = ear.wait_for("/event/warning").data
        ear.wait_for("/result/level")

    assert event["name"] == "status.refused"
