"""The station's program, as a process, against a real broker."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

from click.testing import CliRunner, Result

from edge_sdk.base.clock import SystemClock
from edge_sdk.base.errors import BundleError, ConfigError
from edge_sdk.cli import commands
from edge_sdk.outbox.sqlite import SqliteOutbox
from tests.brokers import RunningBroker
from tests.station.ear import listening
from tests.station.process import EDGE_SDK, accepted, numbered, running, wait_for


def check(config: Path, *options: str) -> Result:
    return CliRunner().invoke(commands, ["station", "check", str(config), *options])


def test_a_good_station_passes_every_check(config: Path) -> None:
    answer = check(config, "--json", str(config.with_name("found.json")))

    assert answer.exit_code == 0, answer.output
    found = json.loads(config.with_name("found.json").read_text())
    assert {"configuration", "sensor thing", "model tiny.edge", "stream level", "disk", "broker MQTT"} <= {
        finding["what"] for finding in found if finding["ok"]
    }
    assert "float32.tflite on litert" in answer.output


def test_a_broker_that_is_away_is_found(config: Path, broker: RunningBroker) -> None:
    broker.kill()

    answer = check(config)

    assert answer.exit_code == 69
    assert "BAD  broker TCP" in answer.output
    assert "-> Is the broker running" in answer.output
    assert check(config, "--no-broker").exit_code == 0


def test_a_tampered_bundle_does_not_start(config: Path) -> None:
    raw = bytearray(config.with_name("tiny.edge").read_bytes())
    raw[len(raw) // 2] ^= 1
    config.with_name("tiny.edge").write_bytes(raw)

    answer = CliRunner().invoke(commands, ["station", "run", str(config)])

    assert isinstance(answer.exception, BundleError)


def test_check_exits_as_the_station_would(config: Path) -> None:
    config.write_text(config.read_text().replace("key.pub", "other.pub"))

    answer = subprocess.run([*EDGE_SDK, "station", "check", str(config), "--json", "-"], capture_output=True, text=True)

    assert answer.returncode == 78, answer.stderr
    assert any(finding["remedy"] for finding in json.loads(answer.stdout))


def test_a_sensor_with_other_channels_than_the_model_wants_does_not_start(config: Path) -> None:
    config.write_text(config.read_text().replace("channels: 2", "channels: 3"))

    answer = CliRunner().invoke(commands, ["station", "run", str(config)])

    assert isinstance(answer.exception, ConfigError)
    assert "gives 3 channels (0, 1, 2), model 'tiny' wants 2 (a V, b V)" in str(answer.exception)


def test_a_bad_configuration_exits_with_78_and_one_line(config: Path) -> None:
    config.write_text(config.read_text().replace("site:", "sight:"))

    answer = subprocess.run([*EDGE_SDK, "station", "run", str(config)], capture_output=True, text=True)

    assert answer.returncode == 78
    assert answer.stderr.startswith("error: ")
    assert "station.yaml:1" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert "\x1b[" not in answer.stderr


def test_a_station_told_to_stop_delivers_and_ends_in_order(config: Path) -> None:
    counters = config.with_name("counters.json")
    with subprocess.Popen(
        [*EDGE_SDK, "station", "run", str(config), "--json", str(counters)], stderr=subprocess.PIPE, text=True
    ) as station:
        wait_for(lambda: numbered(config.parent) >= 20)
        station.send_signal(signal.SIGTERM)
        _, log = station.communicate(timeout=120)

    assert station.returncode == 0, log
    counted = json.loads(counters.read_text())
    assert counted["results.accepted"] == counted["bridge.receipted"] == accepted(config.parent)
    assert "station stops" in log


def test_results_made_while_the_broker_is_away_wait_on_disk(config: Path, broker: RunningBroker) -> None:
    broker.kill()
    with subprocess.Popen(
        [*EDGE_SDK, "station", "run", str(config), "--drain-s", "0"], stderr=subprocess.PIPE
    ) as station:
        wait_for(lambda: numbered(config.parent) >= 20)
        station.send_signal(signal.SIGTERM)
        station.communicate(timeout=120)

    assert station.returncode == 0
    outbox = SqliteOutbox.open(config.parent / "state" / "outbox.sqlite", clock=SystemClock())
    try:
        assert outbox.stats().rows == outbox.stats().newest > 0
    finally:
        outbox.close()


def test_health_says_in_which_epoch_it_counts(config: Path, broker: RunningBroker) -> None:
    with listening(broker.port) as ear, running(config):
        health = ear.wait_for("/health").data
        result = ear.wait_for("/result/level").data

    assert health["epoch"] == result["epoch"] != ""


def test_a_damaged_outbox_is_salvaged_and_announced(config: Path, broker: RunningBroker) -> None:
    broker.kill()
    with running(config, "--drain-s", "0"):
        wait_for(lambda: numbered(config.parent) >= 20)
    before = accepted(config.parent)
    file = config.parent / "state" / "outbox.sqlite"
    with file.open("r+b") as damaged:
        damaged.write(bytes(100))  # the file's header

    broker.start()
    with listening(broker.port) as ear, running(config):
        event = ear.wait_for("/event/warning").data

    assert event["name"] == "outbox.salvaged"
    assert 0 < event["detail"]["saved"] <= before


def test_a_station_introduces_itself_to_home_assistant_where_it_is_told_to(config: Path, broker: RunningBroker) -> None:
    wanted = "delivery: broker, home_assistant: true, home_assistant_expire_s: 90"
    config.write_text(config.read_text().replace("delivery: broker", wanted))

    with listening(broker.port) as ear, running(config):
        found = ear.wait_for("homeassistant/device/roof-alone/config").data

    assert found["device"]["name"] == "alone"
    assert {one.get("expire_after") for name, one in found["components"].items() if name != "outbox"} == {90}
