"""One suite for every transport: paho on a real mosquitto, and the broker in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import anyio
import pytest

from edge_sdk.base.errors import TransportError
from edge_sdk.mqtt.first_of import FirstOf
from edge_sdk.mqtt.memory import MemoryBroker
from edge_sdk.mqtt.paho import PahoTransport
from edge_sdk.mqtt.transport import BrokerAddress, Message, MqttVersion, Transport
from tests.brokers import free_port, mosquitto

pytestmark = pytest.mark.anyio


class Broker(Protocol):
    def connect(self, **options: Any) -> Transport: ...

    def crash(self) -> None: ...


class _Memory:
    def __init__(self) -> None:
        self.broker = MemoryBroker()

    def connect(self, **options: Any) -> Transport:
        return self.broker.connect(**options)

    def crash(self) -> None:
        self.broker.stop()


class _Second:
    """The second of two brokers, the first of which is away."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.away = MemoryBroker()
        self.away.stop()

    def connect(self, **options: Any) -> Transport:
        return FirstOf([lambda: self.away.connect(**options), lambda: self.broker.connect(**options)])

    def crash(self) -> None:
        self.broker.stop()


class _Mosquitto:
    def __init__(self, url: str, crash: Callable[[], None], version: MqttVersion) -> None:
        self.address = BrokerAddress.parse(url, version=version)
        self.crash = crash

    def connect(self, **options: Any) -> Transport:
        return PahoTransport(self.address, **options)


@pytest.fixture(params=["memory", "second", "5", "3.1.1"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    if request.param == "memory":
        yield _Memory()
    elif request.param == "second":
        yield _Second()
    else:
        with mosquitto(tmp_path / "broker") as running:
            yield _Mosquitto(running.url, running.kill, request.param)


async def receive(transport: Transport, count: int) -> list[Message]:
    """The next `count` messages, acknowledged; an error when they do not come."""
    got: list[Message] = []
    with anyio.fail_after(60):
        while len(got) < count:
            messages = await transport.receive()
            transport.ack(messages)
            got.extend(messages)
    return got


async def nothing_more_comes(transport: Transport) -> bool:
    """Whether what is published now is all that arrives: a marker comes through alone."""
    await transport.subscribe("other/marker")
    await transport.publish([Message("other/marker", b"")])
    [message] = await receive(transport, 1)
    return message.topic == "other/marker"


async def test_messages_arrive_in_order_and_whole(broker: Broker) -> None:
    async with broker.connect(client_id="a") as sender, broker.connect(client_id="b") as reader:
        await reader.subscribe("t/#")

        await sender.publish([Message(f"t/{n % 3}", bytes([n]) * 100) for n in range(200)])

        assert [message.payload[0] for message in await receive(reader, 200)] == list(range(200))


async def test_many_more_messages_than_the_window_pass(broker: Broker) -> None:
    async with broker.connect(client_id="a") as sender, broker.connect(client_id="b", receive_window=50) as reader:
        await reader.subscribe("t")
        async with anyio.create_task_group() as group:
            for part in range(5):
                group.start_soon(
                    sender.publish, [Message("t", b"%d" % (part * 1000 + n)) for n in range(1000)], name="publish"
                )
            got = await receive(reader, 5000)

    assert {int(message.payload) for message in got} == set(range(5000))


@pytest.mark.parametrize(
    ("pattern", "covered"),
    [("a/+/c", {"a/b/c", "a/x/c"}), ("a/#", {"a/b/c", "a/x/c", "a", "a/b"}), ("a/b", {"a/b"}), ("+", {"a", "z"})],
)
async def test_wildcards_cover_what_they_should(broker: Broker, pattern: str, covered: set[str]) -> None:
    async with broker.connect(client_id="a") as one:
        await one.subscribe(pattern)

        await one.publish([Message(topic, b"x") for topic in ("a/b/c", "a/x/c", "a", "a/b", "z")])

        assert {message.topic for message in await receive(one, len(covered))} == covered
        assert await nothing_more_comes(one)


async def test_a_retained_message_awaits_later_subscribers(broker: Broker) -> None:
    async with broker.connect(client_id="a") as sender:
        await sender.publish([Message("kept", b"old", retain=True), Message("kept", b"new", retain=True)])
        async with broker.connect(client_id="b") as reader:
            await reader.subscribe("kept")
            assert await receive(reader, 1) == [Message("kept", b"new", retain=True)]

            await sender.publish([Message("kept", b"live", retain=True)])
            assert await receive(reader, 1) == [Message("kept", b"live", retain=False)]

        await sender.publish([Message("kept", b"", retain=True)])
        async with broker.connect(client_id="c") as late:
            await late.subscribe("kept")
            assert await nothing_more_comes(late)


async def test_the_will_is_sent_when_an_error_ends_the_connection(broker: Broker) -> None:
    async with broker.connect(client_id="watch") as reader:
        await reader.subscribe("will")
        with pytest.raises(RuntimeError, match="boom"):
            async with broker.connect(client_id="a", will=Message("will", b"gone")):
                raise RuntimeError("boom")

        assert await receive(reader, 1) == [Message("will", b"gone")]


async def test_the_will_is_not_sent_after_an_orderly_goodbye(broker: Broker) -> None:
    async with broker.connect(client_id="watch") as reader:
        await reader.subscribe("will")
        async with broker.connect(client_id="a", will=Message("will", b"gone")):
            pass

        assert await nothing_more_comes(reader)


async def test_what_was_not_acknowledged_comes_again_when_the_session_resumes(broker: Broker) -> None:
    async with broker.connect(client_id="a") as sender:
        async with broker.connect(client_id="r", clean_start=False, session_expiry_s=60) as reader:
            await reader.subscribe("t")
            await sender.publish([Message("t", b"1"), Message("t", b"2"), Message("t", b"3")])
            got: list[Message] = []
            with anyio.fail_after(60):
                while len(got) < 3:
                    got += await reader.receive()
            reader.ack(got[:1])
        await sender.publish([Message("t", b"4")])

        async with broker.connect(client_id="r", clean_start=False, session_expiry_s=60) as reader:
            assert [message.payload for message in await receive(reader, 3)] == [b"2", b"3", b"4"]


async def test_a_clean_start_forgets_the_session(broker: Broker) -> None:
    async with broker.connect(client_id="a") as sender:
        async with broker.connect(client_id="r", clean_start=False, session_expiry_s=60) as reader:
            await reader.subscribe("t")
        await sender.publish([Message("t", b"1")])

        async with broker.connect(client_id="r", clean_start=True) as reader:
            assert await nothing_more_comes(reader)


async def test_a_broker_that_dies_ends_every_wait(broker: Broker) -> None:
    async with broker.connect(client_id="a") as one:
        await one.subscribe("t")
        failures: list[TransportError] = []

        async def wait() -> None:
            with pytest.raises(TransportError) as caught:
                await one.receive()
            failures.append(caught.value)

        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(wait, name="wait")
                await anyio.lowlevel.checkpoint()
                broker.crash()

        assert len(failures) == 1
        with pytest.raises(TransportError):
            await one.publish([Message("t", b"late")])


async def test_members_of_a_shared_subscription_divide_the_messages(broker: Broker) -> None:
    a, b = broker.connect(client_id="a"), broker.connect(client_id="b")
    async with a, b, broker.connect(client_id="sender") as sender:
        await a.subscribe("$share/group/t")
        await b.subscribe("$share/group/t")

        await sender.publish([Message("t", b"%d" % n) for n in range(10)])

        got = [*await receive(a, 5), *await receive(b, 5)]
        assert sorted(int(message.payload) for message in got) == list(range(10))


async def test_a_second_connection_of_the_same_name_throws_the_first_out(broker: Broker) -> None:
    async with broker.connect(client_id="same") as first, broker.connect(client_id="same"):
        with anyio.fail_after(60), pytest.raises(TransportError):
            await first.receive()


async def test_a_port_where_nobody_listens_is_named() -> None:
    with pytest.raises(TransportError, match=r"TCP: nobody listens there\. Is the broker running"):
        async with PahoTransport(BrokerAddress("127.0.0.1", free_port()), client_id="a"):
            pass


@pytest.mark.parametrize("host", ["no-such-host.invalid", "no..host.invalid"])
async def test_an_unknown_host_is_named(host: str) -> None:
    with pytest.raises(TransportError, match="DNS"):
        async with PahoTransport(BrokerAddress(host), client_id="a"):
            pass
