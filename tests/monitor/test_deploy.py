"""What deploy/monitor holds: the files are true to the programs that read them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
import yaml
from paho.mqtt.enums import CallbackAPIVersion

from edge_sdk.base.yaml import read_yaml
from edge_sdk.monitor.config import MonitorConfig
from edge_sdk.monitor.ingest import IngestState
from edge_sdk.monitor.store.reader import StoreReader
from edge_sdk.monitor.store.views import Counters
from edge_sdk.monitor.web import metrics
from edge_sdk.mqtt.transport import Message
from tests.brokers import mosquitto
from tests.monitor.talk import Talker
from tests.monitor.test_program import monitor, wait

HERE = Path(__file__).parent.parent.parent / "deploy" / "monitor"
GATE = Talker()


def test_the_composition_names_only_what_is_there() -> None:
    composed: dict[str, Any] = yaml.safe_load((HERE / "compose.yaml").read_text())

    for service in composed["services"].values():
        assert set(service.get("secrets", ())) <= set(composed["secrets"])
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith("./secrets/"):
                continue
            assert (HERE / source).exists() if source.startswith(".") else source in composed["volumes"], volume
        if build := service.get("build"):
            assert (HERE / build["context"] / build["dockerfile"]).exists()


def test_every_number_on_the_dashboard_is_one_that_the_monitor_gives(tmp_path: Path) -> None:
    from edge_sdk.monitor.store.sqlite import SqliteStore
    from edge_sdk.monitor.verify import verify_all

    store = SqliteStore(tmp_path / "monitor.db")
    said = [GATE.birth(), GATE.status(), GATE.result(1), GATE.health()]
    store.commit(verify_all(said, max_payload_bytes=1 << 20), now_ns=0)
    with StoreReader(tmp_path / "monitor.db") as reader:
        counters: Counters = reader.counters()
        told = metrics.render(counters, reader.fleet(now_ns=0), [], IngestState())
    store.close()
    board: dict[str, Any] = json.loads((HERE / "grafana" / "fleet.json").read_text())
    given = set(re.findall(r"^# TYPE (\S+)", told, re.MULTILINE))

    asked = set()
    for panel in board["panels"]:
        for target in panel["targets"]:
            asked |= set(re.findall(r"edge_\w+", target["expr"]))
    assert asked <= given
    assert len(asked) >= 9
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in board["panels"])


def test_the_monitor_and_a_station_work_with_these_files(new_database: Callable[[], str], tmp_path: Path) -> None:
    if shutil.which("mosquitto_passwd") is None:
        pytest.skip("mosquitto_passwd is not installed: apt-get install mosquitto")
    place = tmp_path / "deploy"
    shutil.copytree(HERE, place)
    subprocess.run(["sh", str(place / "make-secrets.sh")], check=True, capture_output=True)
    lines = (place / "mosquitto.conf").read_text()
    lines = lines.replace("/mosquitto/config/passwords", str(place / "secrets" / "mosquitto-passwords"))
    lines = lines.replace("/mosquitto/config/access", str(place / "mosquitto-access"))
    ours = [line for line in lines.splitlines() if line.startswith(("password_file", "acl_file", "max_inflight"))]
    config = (place / "monitor.yaml").read_text()
    config = config.replace("postgresql://edge@postgres/edge", f'"{new_database()}"')
    config = re.sub(r"database_password_file: .*", "", config)
    config = config.replace("/run/secrets/", f"{place}/secrets/")

    with mosquitto(tmp_path / "broker", extra="\n".join(ours), anonymous=False) as broker:
        (place / "ours.yaml").write_text(config.replace("mqtt://mosquitto", broker.url))
        assert read_yaml(place / "ours.yaml", MonitorConfig).ingest.share == "monitors"
        with monitor(tmp_path, broker.url, str(place / "ours.yaml")) as running:
            wait(lambda: running.get("/healthz")["broker"])
            password = (place / "secrets" / "station-password").read_text().strip()
            _publish(broker.port, password, [GATE.birth(), GATE.status(), GATE.pack(range(1, 11))])
            wait(lambda: running.get("/api/counters")["results"] == 10)
            [gate] = running.get("/api/stations")["stations"]
    assert gate["backends"] == "litert+xnnpack"


def _publish(port: int, password: str, messages: list[Message]) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.username_pw_set("station", password)
    client.connect("127.0.0.1", port)
    client.loop_start()
    for sent in [client.publish(one.topic, one.payload, qos=1, retain=one.retain) for one in messages]:
        sent.wait_for_publish(30)
    client.disconnect()
    client.loop_stop()
