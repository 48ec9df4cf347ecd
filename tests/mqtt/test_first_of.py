"""Several brokers in order."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from edge_sdk.base.errors import TransportError
from edge_sdk.mqtt.first_of import FirstOf
from edge_sdk.mqtt.memory import MemoryBroker
from edge_sdk.mqtt.transport import Message
from tests.mqtt.test_bridge import World, running, until

pytestmark = pytest.mark.anyio


def first_of(*brokers: MemoryBroker, return_after_s: float = 600.0) -> FirstOf:
    return FirstOf([lambda b=b: b.connect(client_id="a") for b in brokers], return_after_s=return_after_s)  # type: ignore[misc]


async def test_the_first_that_answers_is_used() -> None:
    one, two, three = MemoryBroker(), MemoryBroker(), MemoryBroker()
    one.stop()
    async with two.connect(client_id="b") as reader:
        await reader.subscribe("t")
        async with first_of(one, two, three) as transport:
            await transport.publish([Message("t", b"hello")])
            assert not transport.is_outdated()
        assert [message.payload for message in await reader.receive()] == [b"hello"]


async def test_when_none_answers_each_is_named() -> None:
    one, two = MemoryBroker(), MemoryBroker()
    one.stop()
    two.stop()

    with pytest.raises(TransportError, match=r"nobody listens there.*nobody listens there"):
        async with first_of(one, two):
            pass


async def test_it_asks_to_go_back_to_the_preferred_one_after_a_while() -> None:
    one, two = MemoryBroker(), MemoryBroker()
    async with first_of(one, two, return_after_s=0.0) as transport:
        assert not transport.is_outdated(), "it is the preferred one"
    one.stop()
    async with first_of(one, two, return_after_s=0.0) as transport:
        await anyio.sleep(0.001)
        assert transport.is_outdated()


async def test_a_station_goes_to_its_second_broker_and_back_and_loses_nothing(tmp_path: Path) -> None:
    """Both brokers have a monitor; in the field they pass messages on to each other."""
    world, spare = World(tmp_path / "a"), World(tmp_path / "b")
    spare.outbox.close()
    spare.outbox = world.outbox
    bridge = world.bridge(
        resend_after_s=0.2,
        connect=lambda will: FirstOf(
            [lambda b=b: b.connect(client_id="station", will=will) for b in (world.broker, spare.broker)],  # type: ignore[misc]
            return_after_s=0.05,
        ),
    )
    async with running(spare.monitor, bridge.run):
        async with running(world.monitor):
            await until(lambda: bridge.connected)
            await world.put(bridge, 1, 2)
            await until(lambda: world.outbox.stats().rows == 0)
        world.broker.stop()
        await world.put(bridge, 3, 4)
        await until(lambda: world.outbox.stats().rows == 0)
        assert set(spare.stored) == {3, 4}
    world.outbox.close()

    assert set(world.stored) == {1, 2}


async def test_the_way_back_is_found_by_itself(tmp_path: Path) -> None:
    world, spare = World(tmp_path / "a"), MemoryBroker()
    world.broker.stop()
    bridge = world.bridge(
        connect=lambda will: FirstOf(
            [lambda b=b: b.connect(client_id="station", will=will) for b in (world.broker, spare)],  # type: ignore[misc]
            return_after_s=0.05,
        ),
    )
    async with running(bridge.run):
        await until(lambda: bridge.connected)
        world.broker.start()
        async with running(world.monitor):
            await world.put(bridge, 1)
            await until(lambda: world.outbox.stats().rows == 0)
    world.outbox.close()

    assert bridge.counters["bridge.connections_lost"] == 0
