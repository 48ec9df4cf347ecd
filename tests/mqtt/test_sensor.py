"""Sensors that publish by themselves, over a real broker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge_sdk.base.clock import SystemClock
from edge_sdk.base.errors import ConfigError, SensorError
from edge_sdk.contract.reading import Reading
from edge_sdk.mqtt.sensor import MqttTopic
from tests.brokers import RunningBroker, mosquitto

pytestmark = pytest.mark.anyio
Say = Callable[..., None]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    with mosquitto(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture
def say(broker: RunningBroker) -> Iterator[Say]:
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()

    def publish(topic: str, payload: str | bytes, *, retain: bool = False) -> None:
        client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(5)

    yield publish
    client.disconnect()
    client.loop_stop()


def topic(broker: RunningBroker, channels: dict[str, str], **options: Any) -> MqttTopic:
    return MqttTopic("porch", MqttTopic.Options(broker=broker.url, channels=channels, **options), clock=SystemClock())


class Heard:
    """What a sensor has emitted, and what it failed with."""

    def __init__(self) -> None:
        self.readings: list[Reading] = []
        self.error: SensorError | None = None

    @property
    def rows(self) -> list[list[float]]:
        return [row for reading in self.readings for row in reading.samples.tolist()]

    async def until(self, condition: Callable[[], bool]) -> None:
        with anyio.fail_after(60):
            while not condition():
                await anyio.sleep(0.005)

    async def first(self, topic: str, payload: str, say: Say) -> None:
        """Say it until it is heard."""
        with anyio.fail_after(60):
            while not self.rows:
                await anyio.to_thread.run_sync(say, topic, payload)
                await anyio.sleep(0.02)


@asynccontextmanager
async def listening(sensor: MqttTopic, say: Say, *, hello: str = "") -> AsyncIterator[Heard]:
    """The sensor runs; with `hello`, a topic of plain numbers, its subscription stands when this is entered."""
    heard = Heard()

    async def emit(reading: Reading) -> None:
        heard.readings.append(reading)

    async def run() -> None:
        try:
            await sensor.run(emit)
        except SensorError as error:
            heard.error = error

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        with anyio.fail_after(60):
            while hello and not heard.readings and heard.error is None:
                await anyio.to_thread.run_sync(say, hello, "0")
                await anyio.sleep(0.02)
            if hello:
                say(hello, "-99")  # what is heard after it was said after it
                await heard.until(lambda: bool(heard.rows) and -99 in heard.rows[-1])
        heard.readings.clear()
        yield heard
        group.cancel_scope.cancel()


async def test_plain_numbers_and_words_are_values(broker: RunningBroker, say: Say) -> None:
    async with listening(topic(broker, {"t": ""}, topic="plain"), say, hello="plain") as heard:
        for payload in ("21.5", "ON", "closed"):
            say("plain", payload)
        await heard.until(lambda: len(heard.rows) == 3)

    assert heard.rows == [[21.5], [1.0], [0.0]]
    assert all(abs(reading.start_ns - reading.observed_ns) < 10e9 for reading in heard.readings)


async def test_a_zigbee_device_that_says_one_thing_at_a_time_makes_whole_rows(broker: RunningBroker, say: Say) -> None:
    sensor = topic(broker, {"t": "temperature", "rh": "humidity"}, topic="zigbee2mqtt/porch")
    async with listening(sensor, say) as heard:
        await heard.first("zigbee2mqtt/porch", '{"temperature": 1, "humidity": 2}', say)
        say("zigbee2mqtt/porch", '{"temperature": 20.5, "humidity": 40, "battery": 97}')
        say("zigbee2mqtt/porch", '{"battery": 96}')
        say("zigbee2mqtt/porch", '{"humidity": 41}')
        await heard.until(lambda: [20.5, 41] in heard.rows)

    assert [row for row in heard.rows if row != [1, 2]] == [[20.5, 40], [20.5, 41]]
    assert sensor.counters["messages.empty"] == 1


async def test_channels_may_have_topics_of_their_own_and_old_values_do_not_count(
    broker: RunningBroker, say: Say
) -> None:
    sensor = topic(broker, {"t": "", "rh": ""}, topics={"t": "esp/t", "rh": "esp/rh"}, hold_s=0.0)
    async with listening(sensor, say, hello="esp/t") as heard:
        say("esp/t", "20")
        say("esp/rh", "40")
        await heard.until(lambda: len(heard.rows) == 2)

    np.testing.assert_array_equal(np.array(heard.rows), [[20, np.nan], [np.nan, 40]])


async def test_what_the_broker_had_kept_is_old_unless_its_time_is_told(broker: RunningBroker, say: Say) -> None:
    payload = '{"t": 20, "at": "2026-11-21T02:17:00Z"}'
    say("kept", payload, retain=True)
    sensor = topic(broker, {"t": "t"}, topic="kept")
    async with listening(sensor, say) as heard:
        await heard.until(lambda: sensor.counters["messages.retained"] == 1)
        assert heard.rows == []

    timed = topic(broker, {"t": "t"}, topic="kept", time="at", retained=True)
    async with listening(timed, say) as heard:
        await heard.until(lambda: heard.rows == [[20]])
        say("kept", '{"t": 21, "at": "today"}')
        await heard.until(lambda: timed.counters["messages.without_time"] == 1)
    say("kept", "", retain=True)

    assert heard.readings[0].start_ns == 1_795_227_420_000_000_000


async def test_what_cannot_be_read_is_counted(broker: RunningBroker, say: Say) -> None:
    sensor = topic(broker, {"t": "t"}, topic="bad")
    async with listening(sensor, say) as heard:
        await heard.first("bad", '{"t": 1}', say)
        for payload in (b"\xff\xfe", b"{", b"[" * 2000, b'{"t": "warm"}', b""):
            say("bad", payload)
        await heard.until(lambda: sensor.counters["messages.empty"] >= 4)

    assert sensor.counters["messages.malformed"] == 1
    assert sensor.counters["values.malformed"] == 1


@pytest.mark.parametrize("payload", ["Offline", '{"state": "offline"}'])
async def test_a_device_that_is_told_to_be_offline_is_lost(broker: RunningBroker, say: Say, payload: str) -> None:
    sensor = topic(broker, {"t": ""}, topic="here", availability="here/LWT")
    async with listening(sensor, say, hello="here") as heard:
        say("here/LWT", "Online")
        say("here", "1")
        await heard.until(lambda: len(heard.rows) == 1)
        assert heard.error is None
        say("here/LWT", payload)
        await heard.until(lambda: heard.error is not None)

    assert "here/LWT" in str(heard.error)


async def test_a_broker_that_is_away_is_a_lost_sensor(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as running:
        sensor = topic(running, {"t": ""}, topic="t")
    with pytest.raises(SensorError, match="porch"):
        await sensor.run(lambda reading: anyio.sleep(1))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "has no topic"),
        ({"topic": "zigbee2mqtt/+"}, "many devices"),
        ({"topic": "t", "topics": {"x": "y"}}, "none of the channels"),
        ({"topic": "t", "broker": "http://127.0.0.1"}, "no broker URL"),
    ],
)
def test_a_mistake_is_told_at_once(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        MqttTopic("porch", MqttTopic.Options(channels={"t": ""}, **options), clock=SystemClock())
