"""Readers that know nothing of us: mosquitto's own client reads plain JSON."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from edge_sdk.mqtt.paho import PahoTransport
from edge_sdk.mqtt.transport import BrokerAddress, Message
from tests.brokers import mosquitto
from tests.mqtt.test_subscriber import pack, single

pytestmark = pytest.mark.anyio


async def test_mosquitto_sub_reads_results_and_packs(tmp_path: Path) -> None:
    if shutil.which("mosquitto_sub") is None:
        pytest.skip("mosquitto_sub is not installed: apt-get install mosquitto-clients")
    with mosquitto(tmp_path) as broker:
        address = BrokerAddress.parse(broker.url)
        command = [
            "mosquitto_sub",
            "-p",
            str(broker.port),
            "-t",
            "edge/v1/+/+/#",
            "-t",
            "ready",
            "-C",
            "3",
            "-F",
            "%t %p",
        ]
        async with PahoTransport(address, client_id="s") as station:
            await station.publish([Message("ready", b"1", retain=True)])
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:  # noqa: ASYNC220
                assert reader.stdout is not None
                assert reader.stdout.readline() == "ready 1\n"  # it is subscribed now
                await station.publish([single(1), pack(2, 3)])
                lines = reader.stdout.read().splitlines()

    (topic, result), (_, packed) = (line.split(" ", 1) for line in lines)
    assert topic == "edge/v1/lab/gate-7/result/occupancy"
    assert (json.loads(result)["station"], json.loads(result)["seq"]) == ("gate-7", 1)
    assert [one["seq"] for one in json.loads(packed)["results"]] == [2, 3]
