"""Reading as others would: the library and the command."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from pathlib import Path

import anyio
import pytest

from edge_sdk.base.backoff import Backoff
from edge_sdk.base.errors import ConfigError, TransportError
from edge_sdk.contract.envelope import OutboxRow, ResultMessage, encode_body, encode_pack, encode_result
from edge_sdk.contract.events import StationState, Status, encode_event
from edge_sdk.contract.topics import Kind, Topics
from edge_sdk.mqtt.event import Event, Quarantined
from edge_sdk.mqtt.memory import MemoryBroker
from edge_sdk.mqtt.paho import PahoTransport
from edge_sdk.mqtt.subscriber import Subscriber
from edge_sdk.mqtt.transport import BrokerAddress, Message
from tests.brokers import free_port, mosquitto
from tests.outbox.test_outbox import result

pytestmark = pytest.mark.anyio

TOPICS = Topics("lab", "gate-7")
EPOCH = "00112233445566ff"


def row(seq: int, stream: str = "occupancy") -> OutboxRow:
    return OutboxRow(seq, stream, encode_body(result(seq, stream=stream)), 0)


def single(seq: int, topics: Topics = TOPICS, stream: str = "occupancy") -> Message:
    payload = encode_result(row(seq, stream), station=topics.station, epoch=EPOCH)
    return Message(topics.of(Kind.RESULT, stream), payload)


def pack(*seqs: int) -> Message:
    return Message(TOPICS.of(Kind.PACK), encode_pack(map(row, seqs), station="gate-7", epoch=EPOCH))


def subscriber(broker: MemoryBroker, *, client_id: str | None = None, **options: object) -> Subscriber:
    return Subscriber(
        connect=lambda: broker.connect(
            client_id=client_id or "reader", clean_start=client_id is None, session_expiry_s=60 if client_id else 0
        ),
        backoff=Backoff(base_s=0.01, rng=random.Random(1)),
        **options,  # type: ignore[arg-type]
    )


async def take(reader: Subscriber, count: int) -> list[Event]:
    got: list[Event] = []
    with anyio.fail_after(60):
        async for event in reader:
            got.append(event)
            if len(got) == count:
                break
    return got


def numbers(events: list[Event]) -> list[int]:
    return [event.message.seq for event in events if isinstance(event.message, ResultMessage)]


async def test_singles_and_packs_come_as_results_with_their_address() -> None:
    broker = MemoryBroker()
    async with subscriber(broker) as reader, broker.connect(client_id="s") as station:
        await station.publish([single(3), pack(1, 2)])
        events = await take(reader, 3)

    assert numbers(events) == [3, 1, 2]
    assert {(event.site, event.station, event.kind) for event in events} == {("lab", "gate-7", "result")}
    backlog = [event.message.backlog for event in events if isinstance(event.message, ResultMessage)]
    assert backlog == [False, True, True]


async def test_a_result_that_comes_again_is_left_out_unless_asked_for() -> None:
    broker = MemoryBroker()
    first, second = subscriber(broker), subscriber(broker, client_id="all", dedupe=False)
    async with first, second, broker.connect(client_id="s") as station:
        await station.publish([single(1), pack(1, 2), single(2), single(3)])

        assert numbers(await take(first, 3)) == [1, 2, 3]
        assert numbers(await take(second, 5)) == [1, 1, 2, 2, 3]


async def test_what_cannot_be_read_is_quarantined_with_the_reason() -> None:
    broker = MemoryBroker()
    other = Topics("lab", "gate-8")
    bad = [
        Message(TOPICS.of(Kind.RESULT, "occupancy"), b"{nonsense"),
        Message(TOPICS.of(Kind.PACK), b'{"v":1}'),
        Message(TOPICS.of(Kind.STATUS), b'{"station":"gate-7","state":"dancing"}'),
        Message(other.of(Kind.RESULT, "occupancy"), single(1).payload),
        Message(TOPICS.of(Kind.RESULT, "occupancy"), single(1).payload.replace(b'"v":1', b'"v":2')),
    ]
    async with subscriber(broker) as reader, broker.connect(client_id="s") as station:
        await station.publish([*bad, single(1)])
        events = await take(reader, 6)

    reasons = [event.message.reason for event in events if isinstance(event.message, Quarantined)]
    assert reasons == ["malformed", "schema", "schema", "wrong_station", "version"]
    assert events[3].station == "gate-8"
    assert numbers(events) == [1]


async def test_site_station_and_stream_narrow_what_comes() -> None:
    broker = MemoryBroker()
    reader = subscriber(broker, site="lab", station="gate-7", stream="air")
    async with reader, broker.connect(client_id="s") as station:
        await station.publish([
            single(1, Topics("lab", "gate-8"), "air"),
            single(2, Topics("hall", "gate-7"), "air"),
            single(3, TOPICS, "occupancy"),
            single(4, TOPICS, "air"),
        ])  # fmt: skip
        assert numbers(await take(reader, 1)) == [4]


async def test_it_reconnects_and_goes_on() -> None:
    broker = MemoryBroker()
    async with subscriber(broker, client_id="kept") as reader, broker.connect(client_id="s") as station:
        await station.publish([single(1)])
        assert numbers(await take(reader, 1)) == [1]
        broker.cut("kept")
        await station.publish([single(2)])

        assert numbers(await take(reader, 1)) == [2]


async def test_what_was_not_read_before_a_restart_comes_again() -> None:
    broker = MemoryBroker()
    async with subscriber(broker, client_id="kept") as reader, broker.connect(client_id="s") as station:
        await station.publish([single(1)])
        assert numbers(await take(reader, 1)) == [1]  # and the next one is never asked for

    assert numbers(await take(subscriber(broker, client_id="kept"), 1)) == [1]


async def test_it_can_be_iterated_directly() -> None:
    broker = MemoryBroker()
    async with broker.connect(client_id="s") as station:
        status = encode_event(Status(station="gate-7", state=StationState.ONLINE))
        await station.publish([Message(TOPICS.of(Kind.STATUS), status, retain=True)])

    [event] = await take(subscriber(broker), 1)

    assert (event.kind, event.retained) == ("status", True)


async def test_members_of_a_group_share_the_results() -> None:
    broker = MemoryBroker()
    one, two = subscriber(broker, client_id="one", share="team"), subscriber(broker, client_id="two", share="team")
    async with one, two, broker.connect(client_id="s") as station:
        await station.publish([single(n) for n in range(1, 11)])

        assert sorted(numbers(await take(one, 5)) + numbers(await take(two, 5))) == list(range(1, 11))


async def test_an_unreachable_broker_is_an_error_at_first() -> None:
    with pytest.raises(TransportError, match="nobody listens there"):
        await take(Subscriber(f"mqtt://127.0.0.1:{free_port()}"), 1)


def test_a_name_that_is_no_id_is_refused() -> None:
    with pytest.raises(ConfigError, match="site is 'a/b'"):
        Subscriber(site="a/b")


async def test_the_command_prints_one_json_object_a_line(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker:
        command = [sys.executable, "-c", "from edge_sdk.cli import main; main()"]
        command += ["subscribe", broker.url, "--site", "lab", "--station", "gate-7", "--count", "2"]
        async with PahoTransport(BrokerAddress.parse(broker.url), client_id="s") as station:
            status = encode_event(Status(station="gate-7", state=StationState.ONLINE))
            await station.publish([Message(TOPICS.of(Kind.STATUS), status, retain=True)])
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: ASYNC220
                assert process.stdout is not None
                first = json.loads(await anyio.to_thread.run_sync(process.stdout.readline))
                await station.publish([single(7)])
                second = json.loads(await anyio.to_thread.run_sync(process.stdout.readline))

        assert process.returncode == 0
        assert (first["kind"], first["message"]["state"], first["retained"]) == ("status", "online", True)
        assert (second["kind"], second["site"], second["message"]["seq"]) == ("result", "lab", 7)


def test_the_command_offers_every_kind_of_event() -> None:
    from edge_sdk.mqtt import cli, event

    assert set(cli.KINDS) == set(event._KIND_OF.values())


def test_a_plain_function_is_called_for_each_event_until_it_says_stop(tmp_path: Path) -> None:
    got: list[int] = []
    with mosquitto(tmp_path) as broker:
        reader = Subscriber(broker.url, stream="occupancy")

        def take_three(event: Event) -> None:
            if event.kind == "status":
                publishing.start()
            elif isinstance(event.message, ResultMessage):
                got.append(event.message.seq)
                if len(got) == 3:
                    reader.stop()

        async def publish(*messages: Message) -> None:
            async with PahoTransport(BrokerAddress.parse(broker.url), client_id="s") as station:
                await station.publish(messages)

        publishing = threading.Thread(target=anyio.run, args=(publish, single(3), pack(1, 2, 4)))
        status = encode_event(Status(station="gate-7", state=StationState.ONLINE))
        anyio.run(publish, Message(TOPICS.of(Kind.STATUS), status, retain=True))

        reader.run(take_three)
        publishing.join()

    assert got == [3, 1, 2]


def test_another_thread_ends_a_subscriber_that_waits(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker:
        reader = Subscriber(broker.url)
        came = threading.Event()
        waiting = threading.Thread(target=reader.run, args=(lambda event: came.set(),))
        waiting.start()
        status = encode_event(Status(station="gate-7", state=StationState.ONLINE))

        async def publish() -> None:
            async with PahoTransport(BrokerAddress.parse(broker.url), client_id="s") as station:
                while not came.is_set():
                    await station.publish([Message(TOPICS.of(Kind.STATUS), status)])

        anyio.run(publish)
        reader.stop()
        waiting.join(10)

        assert not waiting.is_alive()


def test_a_broker_that_is_away_is_told_to_the_caller_of_run() -> None:
    with pytest.raises(TransportError, match="nobody listens"):
        Subscriber(f"mqtt://127.0.0.1:{free_port()}").run(print)
