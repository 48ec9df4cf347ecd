"""Sensors in the daemon: a real station, with a serial line and the kernel's own values, against a real broker."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from click.testing import CliRunner
from paho.mqtt.enums import CallbackAPIVersion

from edge_sdk.cli import commands
from edge_sdk.contract.manifest import Windowing
from tests.brokers import RunningBroker, mosquitto
from tests.models import LENGTH, tiny_bundle
from tests.sensors.stands import HWMON, talking, tree

STATION = """\
site: roof
station: alone
state_directory: state
health_every_s: 0.5
broker: {{url: "{broker}", delivery: broker}}
trust: {{allow_unsigned: true}}
sensors:
  wind:
    kind: serial_csv
    options: {{port: {port}, columns: [speed, _, gust], rate_hz: 20}}
    channels: {{gust: {{scale: 0.5144, unit: m/s}}, speed: {{scale: 0.5144, offset: -0.1, unit: m/s}}}}
    stale_after_s: 2
  supply:
    kind: hwmon
    options: {{chip: ina219, channels: [in1, curr1], rate_hz: 20, sysfs: {sysfs}}}
  porch:
    kind: mqtt
    options: {{broker: "{broker}", topic: tele/porch/SENSOR, channels: {{t: T, rh: H}}, rate_hz: 20}}
streams:
  wind: {{models: [{{bundle: wind.edge}}]}}
  supply: {{models: [{{bundle: supply.edge}}]}}
  porch: {{models: [{{bundle: porch.edge}}]}}
"""


CHECKED = """\
site: roof
station: alone
state_directory: state
trust: {{allow_unsigned: true}}
sensors:
  supply:
    kind: hwmon
    options: {{chip: ina219, channels: [in1, curr1], rate_hz: 20, sysfs: {sysfs}}}
    channels: {channels}
streams:
  supply: {{models: [{{bundle: supply.edge}}]}}
"""


def checked(directory: Path, channels: str) -> dict[str, Any]:
    """What `station check` finds of the model."""
    (directory / "station.yaml").write_text(CHECKED.format(sysfs=directory / "sys", channels=channels))
    command = ["station", "check", str(directory / "station.yaml"), "--no-broker", "--json", "-"]
    found = json.loads(CliRunner().invoke(commands, command).output.partition("\nerror")[0])
    return {one["detail"]: one for one in found if one["what"].startswith(("model", "stream"))}


def test_the_check_finds_channels_in_another_order_or_unit(tmp_path: Path) -> None:
    tree(tmp_path / "sys", HWMON)
    windowing = Windowing(length=LENGTH, stride=2, rate_hz=20.0)
    tiny_bundle(tmp_path / "supply.edge", name="supply", sensor="supply", windowing=windowing)  # a and b, in V

    swapped = checked(tmp_path, "{b: {source: curr1, unit: V}, a: {source: in1}}")
    other_unit = checked(tmp_path, "{a: {source: in1}, b: {source: curr1}}")
    right = checked(tmp_path, "{a: {source: in1}, b: {source: curr1, unit: V}}")

    [wrong] = [one for detail, one in swapped.items() if "in this order" in detail]
    assert not wrong["ok"]
    assert "channels: {a: {}, b: {}}" in wrong["remedy"]
    assert [one["must"] for detail, one in other_unit.items() if "is in A, the model was made for V" in detail] == [
        False
    ]
    assert all(one["ok"] for one in right.values())


class Listener:
    """Everything that a station says, by topic."""

    def __init__(self, broker: RunningBroker) -> None:
        self.said: list[tuple[str, Any]] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = lambda client, data, message: self.said.append(
            (message.topic, json.loads(message.payload))
        )
        self._client.connect("127.0.0.1", broker.port)
        self._client.subscribe("edge/v1/roof/alone/#", 1)
        self._client.loop_start()

    def tell(self, topic: str, payload: str) -> None:
        self._client.publish(topic, payload)

    def results(self, stream: str) -> int:
        return sum(1 for topic, _ in list(self.said) if topic.endswith(f"result/{stream}"))

    def events(self, name: str) -> list[str]:
        return [said["message"] for topic, said in list(self.said) if "/event/" in topic and said["name"] == name]

    def states(self) -> dict[str, str]:
        health = [said for topic, said in list(self.said) if topic.endswith("/health")]
        return dict(health[-1]["sensors"]) if health else {}

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def listening(broker: RunningBroker) -> Iterator[Listener]:
    listener = Listener(broker)
    try:
        yield listener
    finally:
        listener.close()


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes], *, within_s: float = 90.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert process.poll() is None, "the station has ended"
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def test_a_station_measures_loses_a_sensor_finds_it_again_and_stops_in_order(tmp_path: Path) -> None:
    windowing = Windowing(length=LENGTH, stride=2, rate_hz=20.0, minimum_coverage=0.5)
    for name in ("wind", "supply", "porch"):
        tiny_bundle(tmp_path / f"{name}.edge", name=name, sensor=name, windowing=windowing)
    tree(tmp_path / "sys", HWMON)
    with (
        mosquitto(tmp_path / "broker") as broker,
        listening(broker) as listener,
        talking(tmp_path / "tty", lambda turn: b"%d.5,garbage,%d\r\n#x\n1,2\n" % (turn % 9, turn % 12)) as pty,
    ):
        config = tmp_path / "station.yaml"
        config.write_text(STATION.format(broker=broker.url, port=pty.link, sysfs=tmp_path / "sys"))
        command = [sys.executable, "-m", "edge_sdk.cli", "station", "run", str(config), "--json", "end.json"]
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(command, cwd=tmp_path, stderr=log)
        try:

            def heard(stream: str, n: int) -> bool:
                listener.tell("tele/porch/SENSOR", '{"T": 20.5, "H": 40}')
                return listener.results(stream) >= n

            for stream in ("wind", "supply", "porch"):
                wait_for(lambda stream=stream: heard(stream, 3), process)  # type: ignore[misc]

            pty.pull()
            wait_for(lambda: bool(listener.events("sensor.lost")), process)
            wait_for(lambda: listener.states().get("wind") == "lost", process)
            n_before, others = listener.results("wind"), listener.results("supply")
            wait_for(lambda: listener.results("supply") > others + 3, process)  # the others go on
            pty.plug()
            wait_for(lambda: listener.states().get("wind") == "running", process)
            wait_for(lambda: listener.results("wind") > n_before + 3, process)

            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0, (tmp_path / "log").read_text()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    counters = json.loads((tmp_path / "end.json").read_text())
    assert "wind" in listener.events("sensor.lost")[0]
    assert any("was lost for" in message for message in listener.events("sensor.running"))
    assert counters["sensors.lost.wind"] == 1
    assert counters["sensors.lines.malformed.wind"] > 3
    assert counters["sensors.lines.comment.wind"] > 3
    assert counters["results.accepted"] == counters["results.made"] > 10
    assert "Traceback" not in (tmp_path / "log").read_text()
