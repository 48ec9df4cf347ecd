"""Home Assistant's device discovery."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest

from edge_sdk.base.clock import to_datetime
from edge_sdk.contract.events import Birth
from edge_sdk.mqtt.homeassistant import STATUS_TOPIC, discovery
from edge_sdk.mqtt.transport import Message
from tests.mqtt.test_bridge import World, running, until

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
    bridge = world.bridge(home_assistant=True)
    heard: list[str] = []
    async with world.broker.connect(client_id="ha") as ha:
        await ha.subscribe("homeassistant/device/#")

        async def listen() -> None:
            while True:
                heard.extend(message.topic for message in await ha.receive())

        async with running(listen, bridge.run):
            await until(lambda: len(heard) == 1)
            await ha.publish([Message(STATUS_TOPIC, b"online")])
            await until(lambda: len(heard) == 2)
            await anyio.lowlevel.checkpoint()
    world.outbox.close()

    assert set(heard) == {"homeassistant/device/lab-gate-7/config"}
