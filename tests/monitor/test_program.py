"""The monitor as a process: `edge-sdk monitor run` and `status`."""

from __future__ import annotations

import json
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge_sdk.monitor.store.reader import StoreReader
from edge_sdk.mqtt.transport import Message
from tests.brokers import RunningBroker, mosquitto
from tests.monitor.talk import Talker

COMMAND = [sys.executable, "-c", "from edge_sdk.cli import main; main()", "monitor"]
GATE = Talker()


class Running:
    """A monitor process that serves its page."""

    def __init__(self, process: subprocess.Popen[bytes], url: str | None) -> None:
        self.process = process
        self.url = url

    def text(self, path: str) -> str:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def get(self, path: str) -> Any:
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)


@contextmanager
def monitor(directory: Path, broker_url: str, *options: str) -> Iterator[Running]:
    ready = directory / "ready.json"
    ready.unlink(missing_ok=True)
    given = ["--broker", broker_url, "--store", str(directory / "monitor.db"), "--ready-file", str(ready)]
    with (directory / "monitor.log").open("ab") as log:
        process = subprocess.Popen(
            [*COMMAND, "run", *given, "--listen", "127.0.0.1:0", *options], stdout=log, stderr=log
        )
    try:
        wait(lambda: ready.exists() or process.poll() is not None)
        assert process.poll() is None, (directory / "monitor.log").read_text()
        yield Running(process, json.loads(ready.read_text())["url"])
    finally:
        process.kill()
        process.wait()


def wait(is_so: Callable[[], object], *, deadline_s: float = 30.0) -> None:
    deadline = time.monotonic() + deadline_s
    while not is_so():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def publish(port: int, messages: list[Message]) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.connect("127.0.0.1", port)
    client.loop_start()
    sent = [client.publish(one.topic, one.payload, qos=1, retain=one.retain) for one in messages]
    for one in sent:
        one.wait_for_publish(30)
    client.disconnect()
    client.loop_stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RunningBroker]:
    with mosquitto(tmp_path / "broker") as running:
        yield running


def test_a_monitor_stores_results_and_serves_them_and_stops_in_order(broker: RunningBroker, tmp_path: Path) -> None:
    with monitor(tmp_path, broker.url) as running:
        wait(lambda: running.get("/healthz")["broker"])
        publish(broker.port, [GATE.birth(), GATE.status(), GATE.pack(range(1, 21))])
        wait(lambda: running.get("/api/counters")["results"] == 20)
        [gate] = running.get("/api/stations")["stations"]
        results = running.get("/api/results?site=north&station=gate-1&stream=activity&limit=5")

        numbers = running.text("/metrics")

        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(20) == 0

    assert "edge_results_stored_total 20" in numbers
    assert 'edge_stations{state="online"} 1' in numbers
    assert 'edge_station_confidence{site="north",station="gate-1",stream="activity"} 0.91' in numbers
    assert (gate["station"], gate["state"]) == ("gate-1", "online")
    assert [one["seq"] for one in results] == [16, 17, 18, 19, 20]
    assert results[-1]["body"]["label"] == gate["streams"][0]["label"]
    printed = subprocess.run(
        [*COMMAND, "status", "--store", str(tmp_path / "monitor.db"), "--json", "-"], capture_output=True, check=True
    )
    assert json.loads(printed.stdout)["counters"]["results"] == 20


def test_a_monitor_without_a_page_and_without_a_broker_still_stops_in_order(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with monitor(tmp_path, f"mqtt://127.0.0.1:{nobody.getsockname()[1]}", "--no-web") as running:
            assert running.url is None
            running.process.send_signal(signal.SIGINT)
            assert running.process.wait(20) == 0


def test_without_a_broker_the_page_says_so(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with monitor(tmp_path, f"mqtt://127.0.0.1:{nobody.getsockname()[1]}") as running:
            wait(lambda: running.get("/healthz")["error"])
            assert running.get("/healthz")["status"] == "degraded"
            assert "nobody listens" in running.get("/healthz")["error"]


def test_killed_again_and_again_under_load_nothing_is_lost_and_nothing_double(
    broker: RunningBroker, tmp_path: Path
) -> None:
    rng = random.Random(8)
    last = 600
    with monitor(tmp_path, broker.url, "--no-web"):
        wait(lambda: "subscribed" in (tmp_path / "monitor.log").read_text())
    for start in range(1, last, 200):
        with monitor(tmp_path, broker.url, "--no-web") as running:
            messages = [GATE.result(seq) for seq in range(start, start + 200)]
            publish(broker.port, messages[: rng.randint(50, 150)])
            running.process.kill()
            publish(broker.port, messages)

    with monitor(tmp_path, broker.url, "--no-web"):
        wait(lambda: stored(tmp_path) == last)
    with StoreReader(tmp_path / "monitor.db") as reader:
        assert [one.seq for one in reader.results()] == list(range(1, last + 1))
        assert reader.counters().missing == 0


def stored(directory: Path) -> int:
    with StoreReader(directory / "monitor.db") as reader:
        return reader.counters().results


def test_a_config_with_an_unknown_key_is_refused_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "monitor.yaml").write_text("web:\n  lisen: 127.0.0.1:0\n")

    answer = subprocess.run([*COMMAND, "run", str(tmp_path / "monitor.yaml")], capture_output=True, check=False)

    assert answer.returncode == 78
    assert b"Did you mean 'listen'?" in answer.stderr
    assert b"monitor.yaml:2" in answer.stderr


def test_a_taken_port_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        answer = subprocess.run(
            [*COMMAND, "run", "--store", str(tmp_path / "m.db"), "--listen", listen], capture_output=True, check=False
        )

    assert answer.returncode == 78
    assert b"Give another --listen" in answer.stderr


def test_an_alert_is_shown_and_sent_once_even_across_a_restart(broker: RunningBroker, tmp_path: Path) -> None:
    (tmp_path / "monitor.yaml").write_text(f"""
alerts:
  interval_s: 0.05
  rules:
    - {{name: backlog, when: backlog_above, threshold: 100, severity: error}}
  sinks:
    bus: {{kind: mqtt, url: "{broker.url}"}}
""")
    heard: list[bytes] = []
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.on_message = lambda _, __, message: heard.append(bytes(message.payload))
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    wait(client.is_connected)
    client.subscribe("edge-alerts/#", 1)

    with monitor(tmp_path, broker.url, str(tmp_path / "monitor.yaml")) as running:
        wait(lambda: running.get("/healthz")["broker"])
        publish(broker.port, [GATE.birth(), GATE.health(backlog=500)])
        wait(lambda: running.get("/api/alerts"))
        wait(lambda: heard)
        assert running.get("/api/alerts")[0]["why"] == "500 results wait"
        running.process.send_signal(signal.SIGTERM)
        running.process.wait(20)
    with monitor(tmp_path, broker.url, str(tmp_path / "monitor.yaml")) as running:
        wait(lambda: running.get("/healthz")["broker"])
        publish(broker.port, [GATE.health(60, backlog=3)])
        wait(lambda: not running.get("/api/alerts"))
        wait(lambda: len(heard) >= 2)
    client.disconnect()
    client.loop_stop()

    assert [json.loads(one)["fires"] for one in heard] == [True, False]
