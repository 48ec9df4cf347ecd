"""Home Assistant's device discovery."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from edge_sdk.base.clock import to_datetime
from edge_sdk.contract.envelope import OutboxRow, encode_body, encode_result
from edge_sdk.contract.events import Birth, Health, StationState, Status, encode_event
from edge_sdk.contract.topics import Kind, Topics
from edge_sdk.mqtt.homeassistant import STATUS_TOPIC, discovery
from edge_sdk.mqtt.transport import Message
from tests.mqtt.test_bridge import World, running, until
from tests.outbox.test_outbox import result

HERE = Path(__file__).parent
RECORD = HERE / "homeassistant_keys.json"
"""The keys that the schemas of the real package know, written by the slow test below."""
PACKAGE = ("homeassistant==2025.1.4", "paho-mqtt==1.6.1")

BIRTH = Birth(
    site="lab",
    station="gate-7",
    epoch="00ff",
    version="1.2",
    board="Raspberry Pi 5",
    streams=("occupancy", "air"),
    started=to_datetime(0),
)


def test_a_station_is_one_device_with_a_sensor_for_each_stream() -> None:
    message = discovery(BIRTH, expire_after_s=60)
    config = json.loads(message.payload)

    assert message.topic == "homeassistant/device/lab-gate-7/config"
    assert message.retain
    assert config["device"]["identifiers"] == ["edge-sdk-lab-gate-7"]
    assert config["origin"]["name"] == "edge-sdk"
    assert config["availability"][0]["topic"] == "edge/v1/lab/gate-7/status"
    assert config["components"]["occupancy"]["state_topic"] == "edge/v1/lab/gate-7/result/occupancy"
    assert config["components"]["air"]["expire_after"] == 60


def test_ids_are_unique_and_every_component_names_its_platform() -> None:
    components = json.loads(discovery(BIRTH).payload)["components"]

    ids = [component["unique_id"] for component in components.values()]
    assert len(set(ids)) == len(ids) == 5
    assert {component["platform"] for component in components.values()} == {"sensor"}


@pytest.mark.anyio
async def test_the_bridge_introduces_the_station_and_again_when_home_assistant_starts(tmp_path: Path) -> None:
    world = World(tmp_path)
    bridge = world.bridge(home_assistant=True, home_assistant_expire_s=90)
    heard: list[Message] = []
    async with world.broker.connect(client_id="ha") as ha:
        await ha.subscribe("homeassistant/device/#")

        async def listen() -> None:
            while True:
                heard.extend(await ha.receive())

        async with running(listen, bridge.run):
            await until(lambda: len(heard) == 1)
            await ha.publish([Message(STATUS_TOPIC, b"online")])
            await until(lambda: len(heard) == 2)
            await anyio.lowlevel.checkpoint()
    world.outbox.close()

    assert {message.topic for message in heard} == {"homeassistant/device/lab-gate-7/config"}


def test_every_key_is_one_that_home_assistant_knows() -> None:
    known = json.loads(RECORD.read_text(encoding="utf-8"))
    config = json.loads(discovery(BIRTH, expire_after_s=60).payload)

    assert config.keys() <= set(known["device_discovery"])
    for component in config["components"].values():
        assert component.keys() - {"platform"} <= set(known["sensor"])


def states() -> Mapping[str, str]:
    """What a station of a classification and a regression stream publishes, by topic."""
    topics = Topics(BIRTH.site, BIRTH.station)
    said: dict[str, bytes] = {
        topics.of(Kind.STATUS): encode_event(Status(station="gate-7", state=StationState.ONLINE)),
        topics.of(Kind.HEALTH): encode_event(Health(station="gate-7", t=to_datetime(0), outbox_rows=17)),
    }
    label = msgspec.structs.replace(result(), value=msgspec.UNSET, label="two", confidence=0.91, degraded=True)
    for stream, what in (("occupancy", label), ("air", result(42))):
        row = OutboxRow(1, stream, encode_body(what), 0)
        said[topics.of(Kind.RESULT, stream)] = encode_result(row, station="gate-7", epoch="00ff")
    return {topic: payload.decode() for topic, payload in said.items()}


def interpreter(version: str) -> str | None:
    """A Python of that version that runs; pyenv's are not all on the PATH."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for found in (*pyenv.glob(f"versions/{version}*/bin/python"), shutil.which(f"python{version}")):
        if found and subprocess.run([found, "--version"], capture_output=True, check=False).returncode == 0:
            return str(found)
    return None


@pytest.fixture(scope="module")
def real_home_assistant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter of its own with Home Assistant in it; skips with the reason where it does not install."""
    place = tmp_path_factory.mktemp("home_assistant")
    uv = [str(Path(sys.executable).with_name("uv"))]
    python = str(place / "bin" / "python")
    base = next(filter(None, map(interpreter, ("3.13", "3.12"))), None)
    if base is None:
        pytest.skip("Home Assistant needs Python 3.12 or 3.13")
    for command in (
        [*uv, "venv", "--quiet", "--python", base, str(place)],
        [*uv, "pip", "install", "--quiet", "--python", python, *PACKAGE],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        if done.returncode:
            pytest.skip(f"Home Assistant does not install here: {done.stderr.strip()[-300:]}")
    return Path(python)


@pytest.mark.slow
def test_the_real_home_assistant_takes_a_station_and_shows_its_results(real_home_assistant: Path) -> None:
    given: dict[str, Any] = {
        "config": json.loads(discovery(BIRTH, expire_after_s=60).payload),
        "states": states(),
    }
    command = [str(real_home_assistant), str(HERE / "homeassistant_check.py")]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)

    shown = answer["shown"]
    assert {name: one["state"] for name, one in shown.items()} == {
        "outbox": "17",
        "occupancy": "two",
        "occupancy-confidence": "91.0",
        "air": "42.0",
        "air-confidence": "",
    }
    assert {one["available"] for one in shown.values()} == {"online"}
    assert shown["occupancy"]["attributes"]["degraded"] is True
    recorded = {"package": PACKAGE[0], **answer["known"]}
    assert json.loads(RECORD.read_text(encoding="utf-8")) == recorded, f"write {json.dumps(recorded)} to {RECORD.name}"
