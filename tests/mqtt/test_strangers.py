"""Readers that know nothing of us: mosquitto's own client, and one in Node.js with `mqtt` from npm."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from edge_sdk.base.clock import SystemClock
from edge_sdk.contract.encoding import Encoding, compress
from edge_sdk.mqtt.packer import Packer
from edge_sdk.mqtt.paho import PahoTransport
from edge_sdk.mqtt.transport import BrokerAddress, Message
from edge_sdk.outbox.sqlite import SqliteOutbox
from tests.brokers import mosquitto
from tests.mqtt.test_bridge import TOPICS
from tests.mqtt.test_subscriber import pack, single
from tests.outbox.test_outbox import result

pytestmark = pytest.mark.anyio

NODE = Path(__file__).parent.parent.parent / "examples" / "subscribers"


@pytest.fixture(scope="module")
def node_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, with what its package-lock.json names."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    place = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json", "subscribe.mjs"):
        shutil.copy(NODE / name, place)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        pytest.skip(f"npm cannot install here: {done.stderr.strip()[-300:]}")
    return place / "subscribe.mjs"


@contextmanager
def reading(*command: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A reader that has said on standard error that it is subscribed."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as reader:
        assert reader.stderr is not None
        assert reader.stderr.readline() == "subscribed\n"
        yield reader


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


async def test_mosquitto_sub_reads_the_trace_of_a_live_result(tmp_path: Path) -> None:
    if shutil.which("mosquitto_sub") is None:
        pytest.skip("mosquitto_sub is not installed: apt-get install mosquitto-clients")
    with closing(SqliteOutbox.open(tmp_path / "outbox.db", clock=SystemClock())) as outbox:
        rows = outbox.put([result(1)])
        packer = Packer(TOPICS, outbox, encoding=Encoding.JSON, compressed=False, traced=True)
        kept = replace(packer.single(rows[0]), retain=True)
        epoch = outbox.epoch
    with mosquitto(tmp_path / "broker") as broker:
        async with PahoTransport(BrokerAddress.parse(broker.url), client_id="s") as station:
            await station.publish([kept])
        command = ["mosquitto_sub", "-V", "5", "-p", str(broker.port), "-t", "edge/#", "-C", "1", "-F", "%P"]
        said = await anyio.run_process(command)

    assert said.stdout.decode().split() == [f"traceparent:00-{epoch}{1:016x}-{1:016x}-01"]


async def test_a_client_in_node_reads_each_result_once(tmp_path: Path, node_client: Path) -> None:
    with mosquitto(tmp_path) as broker, reading("node", node_client, broker.url, "5") as reader:
        async with PahoTransport(BrokerAddress.parse(broker.url), client_id="s") as station:
            squeezed = pack(2, 3, 4)
            squeezed = Message(squeezed.topic, compress(squeezed.payload))
            await station.publish([single(1), single(1), pack(1, 2), squeezed, Message(single(9).topic, b"{")])
            await station.publish([single(5)])
        out, errors = reader.communicate(timeout=120)

    found = [json.loads(line) for line in out.splitlines()]
    assert [(one["site"], one["station"], one["seq"]) for one in found] == [("lab", "gate-7", n) for n in range(1, 6)]
    assert [one["backlog"] for one in found] == [False, True, True, True, False]
    assert found[0].keys() == found[1].keys()
    assert "cannot be read: edge/v1/lab/gate-7/result/occupancy" in errors


def test_the_lock_names_no_registry() -> None:
    lock = json.loads((NODE / "package-lock.json").read_text())

    assert not [name for name, package in lock["packages"].items() if "resolved" in package]
