"""The bridge on a broker in memory, with a monitor of a few lines that receipts what it stores."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from edge_sdk.base.backoff import Backoff
from edge_sdk.base.clock import Clock, ManualClock, SystemClock, to_datetime
from edge_sdk.contract.encoding import Encoding
from edge_sdk.contract.envelope import decode_pack, decode_result
from edge_sdk.contract.events import Birth, Health, StationEvent, StationState, Status, decode_event
from edge_sdk.contract.receipt import Ranges, Receipt, encode_receipt
from edge_sdk.contract.topics import Kind, Topics, parse
from edge_sdk.mqtt.bridge import Bridge
from edge_sdk.mqtt.memory import MemoryBroker
from edge_sdk.mqtt.standing import Delivery
from edge_sdk.mqtt.transport import Message, Transport
from edge_sdk.outbox.quota import Quota
from edge_sdk.outbox.sqlite import SqliteOutbox
from tests.outbox.test_outbox import result

pytestmark = pytest.mark.anyio

TOPICS = Topics("lab", "gate-7")


class World:
    """A broker, one station and one monitor."""

    def __init__(self, path: Path, quota: Quota | None = None, clock: Clock | None = None) -> None:
        self.broker = MemoryBroker()
        self.outbox = SqliteOutbox.open(path / "outbox.db", clock=clock or SystemClock(), quota=quota)
        self.stored: Counter[int] = Counter()
        self.live: list[int] = []
        self.said: list[Message] = []
        self.packs = self.bytes = 0
        self.gone = Ranges()

    def bridge(
        self,
        *,
        delivery: Delivery = "monitor",
        resend_after_s: float = 30.0,
        pack_results: int = 200,
        home_assistant: bool = False,
        connect: Callable[[Message], Transport] | None = None,
        **more: Any,
    ) -> Bridge:
        return Bridge(
            connect=connect or self._connect,
            topics=TOPICS,
            outbox=self.outbox,
            birth=self._birth,
            clock=SystemClock(),
            delivery=delivery,
            backoff=Backoff(base_s=0.01, cap_s=0.02, rng=random.Random(1)),
            backlog_results_per_s=float("inf"),
            resend_after_s=resend_after_s,
            pack_results=pack_results,
            home_assistant=home_assistant,
            **more,
        )

    def _connect(self, will: Message) -> Transport:
        return self.broker.connect(client_id="station", will=will)

    def _birth(self) -> Birth:
        return Birth(
            site="lab",
            station="gate-7",
            epoch=self.outbox.epoch,
            oldest=self.outbox.stats().oldest,
            version="1",
            board="test",
            started=to_datetime(SystemClock().wall_ns()),
        )

    async def put(self, bridge: Bridge | None, *numbers: int) -> None:
        rows = await anyio.to_thread.run_sync(self.outbox.put, [result(n) for n in numbers])
        if bridge is not None:
            bridge.offer(rows)

    async def monitor(self, *, receipts: bool = True) -> None:
        """Store all that comes, and say so."""
        stored = Ranges()
        async with self.broker.connect(client_id="monitor", clean_start=False, session_expiry_s=60) as transport:
            await transport.subscribe("edge/v1/#")
            while True:
                messages = await transport.receive()
                came = {parse(message.topic).kind for message in messages}
                for message in messages:
                    kind = parse(message.topic).kind
                    if kind is Kind.RESULT:
                        seq = decode_result(message.payload).seq
                        self.stored[seq] += 1
                        self.live.append(seq)
                        stored.add(seq)
                    elif kind is Kind.PACK:
                        self.packs += 1
                        self.bytes += len(message.payload)
                        pack = decode_pack(message.payload)
                        for item in pack.results:
                            self.stored[item.seq] += 1
                            stored.add(item.seq)
                        for span in pack.gone:
                            self.gone.add(*span)
                            stored.add(*span)
                    elif kind is not Kind.RECEIPT:
                        self.said.append(message)
                transport.ack(messages)
                if receipts and came - {Kind.RECEIPT}:
                    payload = encode_receipt(Receipt(v=1, epoch=self.outbox.epoch, stored=stored.ranges))
                    await transport.publish([Message(TOPICS.of(Kind.RECEIPT), payload, retain=True)])


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.outbox.close()


@asynccontextmanager
async def running(*services: Callable[[], object]) -> AsyncIterator[None]:
    async with anyio.create_task_group() as group:
        for service in services:
            group.start_soon(service)  # type: ignore[arg-type]
        yield
        group.cancel_scope.cancel()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; an error when it does not come true."""
    with anyio.fail_after(120):
        while not condition():
            await anyio.sleep(0.002)


def states(world: World) -> list[StationState]:
    return [
        decode_event(message.payload, Status).state
        for message in world.said
        if parse(message.topic).kind is Kind.STATUS
    ]


async def test_live_results_go_out_one_by_one_and_leave_on_the_receipt(world: World) -> None:
    bridge = world.bridge()
    async with running(world.monitor, bridge.run):
        await until(lambda: bridge.connected)
        await world.put(bridge, 1, 2, 3)
        await world.put(bridge, 4)
        await until(lambda: world.outbox.stats().rows == 0)

    assert world.live == [1, 2, 3, 4]
    assert world.packs == 0
    assert bridge.counters["bridge.receipted"] == 4


async def test_a_backlog_goes_out_in_packs_oldest_first_and_once(world: World) -> None:
    for _ in range(10):
        await world.put(None, *range(100))
    bridge = world.bridge(pack_results=150)
    async with running(world.monitor, bridge.run):
        await until(lambda: world.outbox.stats().rows == 0)

    assert list(world.stored) == list(range(1, 1001))
    assert set(world.stored.values()) == {1}
    assert 7 <= world.packs <= 9


async def test_nothing_leaves_without_a_receipt(world: World) -> None:
    await world.put(None, *range(10))
    bridge = world.bridge()

    async def silent() -> None:
        await world.monitor(receipts=False)

    async with running(silent, bridge.run):
        await until(lambda: len(world.stored) == 10)

    assert world.outbox.stats().rows == 10


async def test_what_no_receipt_names_is_sent_again_on_a_connection_that_stays_up(world: World) -> None:
    bridge = world.bridge(resend_after_s=0.05)
    async with running(bridge.run):
        await until(lambda: bridge.connected)
        await world.put(bridge, 1, 2, 3)
        await until(lambda: bridge.counters["bridge.unreceipted"] >= 3)
        async with running(world.monitor):
            await until(lambda: world.outbox.stats().rows == 0)

    assert set(world.stored) == {1, 2, 3}
    assert bridge.counters["bridge.connections"] == 1


async def test_every_result_arrives_though_the_connection_is_cut_again_and_again(world: World) -> None:
    bridge = world.bridge(resend_after_s=0.2)
    total = 600
    async with running(world.monitor, bridge.run):
        for n in range(0, total, 20):
            await world.put(bridge, *range(n, n + 20))
            if n % 60 == 0:
                await until(lambda: bridge.connected)
                world.broker.cut("station")
        await until(lambda: world.outbox.stats().rows == 0)

    assert set(world.stored) == set(range(1, total + 1))
    assert bridge.counters["bridge.connections"] > 3


async def test_a_broker_that_forgets_everything_costs_nothing_but_a_resend(world: World) -> None:
    bridge = world.bridge(resend_after_s=0.1)
    async with running(bridge.run):
        await until(lambda: bridge.connected)
        await world.put(bridge, *range(50))
        await until(lambda: bridge.counters["bridge.sent_live"] == 50)
        world.broker.stop(forget=True)
        await world.put(bridge, *range(50))
        world.broker.start()
        async with running(world.monitor):
            await until(lambda: world.outbox.stats().rows == 0)

    assert set(world.stored) == set(range(1, 101))


async def test_the_brokers_word_is_enough_when_so_configured(world: World) -> None:
    await world.put(None, 1, 2, 3)
    bridge = world.bridge(delivery="broker")
    async with running(bridge.run):
        await until(lambda: bridge.connected)
        await world.put(bridge, 4)
        await until(lambda: world.outbox.stats().rows == 0)

    assert bridge.counters["bridge.receipted"] == 4


async def test_birth_and_status_are_retained_and_an_orderly_stop_says_so(world: World) -> None:
    bridge = world.bridge()
    async with running(world.monitor):
        async with running(bridge.run):
            await until(lambda: bridge.connected)
        await until(lambda: len(states(world)) == 3)

    assert states(world) == [StationState.ONLINE, StationState.STOPPING, StationState.OFFLINE]
    async with world.broker.connect(client_id="late") as late:
        await late.subscribe("edge/v1/+/+/birth", "edge/v1/+/+/status")
        kept = {parse(message.topic).kind: message for message in await late.receive()}
    assert kept[Kind.BIRTH].retain
    assert decode_event(kept[Kind.BIRTH].payload, Birth).epoch == world.outbox.epoch
    assert decode_event(kept[Kind.STATUS].payload, Status).state is StationState.OFFLINE


async def test_a_station_that_vanishes_is_declared_offline_by_its_will(world: World) -> None:
    bridge = world.bridge()
    async with running(world.monitor, bridge.run):
        await until(lambda: bridge.connected)
        world.broker.cut("station")
        await until(lambda: len(states(world)) >= 3)

    assert states(world)[:3] == [StationState.ONLINE, StationState.OFFLINE, StationState.ONLINE]


async def test_announcements_are_sent_and_too_many_are_counted(world: World) -> None:
    bridge = world.bridge()
    moment = to_datetime(SystemClock().wall_ns())
    for n in range(300):
        bridge.announce(StationEvent(station="gate-7", t=moment, name="sensor.lost", message=str(n)))
    assert bridge.counters["bridge.announcements_dropped"] == 44

    def heard(kind: Kind) -> int:
        return sum(parse(message.topic).kind is kind for message in world.said)

    async with running(world.monitor, bridge.run):
        await until(lambda: heard(Kind.EVENT) == 256)
        bridge.announce(Health(station="gate-7", t=moment))
        await until(lambda: heard(Kind.HEALTH) == 1)


async def test_an_unreadable_receipt_is_counted_and_changes_nothing(world: World) -> None:
    await world.put(None, 1)
    bridge = world.bridge()
    async with running(bridge.run), world.broker.connect(client_id="mallory") as mallory:
        await until(lambda: bridge.connected)
        await mallory.publish([Message(TOPICS.of(Kind.RECEIPT), b"{nonsense")])
        await until(lambda: bridge.counters["bridge.receipts_unreadable.malformed"] == 1)

    assert world.outbox.stats().rows == 1


async def test_the_bridge_starts_without_a_broker_and_finds_it_later(world: World) -> None:
    world.broker.stop()
    bridge = world.bridge()
    async with running(bridge.run):
        await until(lambda: bridge.counters["bridge.connections_lost"] >= 3)
        await world.put(bridge, 1)
        world.broker.start()
        async with running(world.monitor):
            await until(lambda: world.outbox.stats().rows == 0)


@pytest.mark.parametrize("encoding", list(Encoding))
@pytest.mark.parametrize("compressed", [False, True])
async def test_every_form_of_results_and_packs_is_read(world: World, encoding: Encoding, compressed: bool) -> None:
    await world.put(None, *range(500))
    bridge = world.bridge(encoding=encoding, compressed=compressed)
    async with running(world.monitor, bridge.run):
        await until(lambda: bridge.connected)
        await world.put(bridge, 1, 2, 3)
        await until(lambda: world.outbox.stats().rows == 0)

    assert set(world.stored) == set(range(1, 504))
    assert world.live == [501, 502, 503]
    assert (world.bytes < 500 * 40) == compressed


async def test_a_bound_on_bytes_holds_and_live_results_go_first(world: World) -> None:
    for _ in range(8):
        await world.put(None, *range(50))
    bridge = world.bridge(bytes_per_s=40_000.0)
    begun = anyio.current_time()
    async with running(world.monitor, bridge.run):
        await until(lambda: bridge.connected and world.packs > 0)
        await world.put(bridge, 1)
        await until(lambda: world.outbox.stats().rows == 0)
    assert list(world.stored).index(401) < 350, "the live result came before much of the backlog"
    seconds = anyio.current_time() - begun

    assert (world.bytes - 20_000) / 40_000 < seconds + 0.5


async def test_a_backlog_with_holes_says_what_will_never_come(tmp_path: Path) -> None:
    world = World(tmp_path, Quota(bytes=200_000, on_full="thin", keep_every=4))
    for n in range(0, 800, 20):
        world.outbox.put([result(n + k, padding=500) for k in range(20)])
    held = {row.seq for row in world.outbox.read(after=0, limit=10_000)}
    bridge = world.bridge(pack_results=50)
    async with running(world.monitor, bridge.run):
        await until(lambda: world.outbox.stats().rows == 0)
    world.outbox.close()

    assert set(world.stored) == held
    assert len(held) < 500
    assert {n for low, high in world.gone.ranges for n in range(low, high + 1)} == set(range(min(held), 801)) - held


async def test_a_monitor_that_lost_what_it_had_is_sent_it_again(tmp_path: Path) -> None:
    clock = ManualClock()
    world = World(tmp_path, Quota(keep_after_receipt_s=3600.0), clock)
    bridge = world.bridge()
    async with running(bridge.run):
        async with running(world.monitor):
            await until(lambda: bridge.connected)
            await world.put(bridge, *range(20))
            await until(lambda: world.outbox.stats().rows == 0)
        clock.advance(60)
        world.stored.clear()
        async with world.broker.connect(client_id="restored") as restored:
            old = Receipt(v=1, epoch=world.outbox.epoch, stored=((1, 12),))
            await restored.publish([Message(TOPICS.of(Kind.RECEIPT), encode_receipt(old), retain=True)])
        await until(lambda: bridge.counters["bridge.asked_again"] == 8)
        assert [row.seq for row in world.outbox.read(after=0, limit=100)] == list(range(13, 21))
        async with running(world.monitor):
            await until(lambda: world.outbox.stats().rows == 0)
    world.outbox.close()

    assert set(world.stored) >= set(range(13, 21))


async def test_a_receipt_that_the_broker_had_kept_asks_for_nothing(tmp_path: Path) -> None:
    clock = ManualClock()
    world = World(tmp_path, Quota(keep_after_receipt_s=3600.0), clock)
    bridge = world.bridge()
    async with running(world.monitor, bridge.run):
        await until(lambda: bridge.connected)
        await world.put(bridge, *range(20))
        await until(lambda: world.outbox.stats().rows == 0)
    clock.advance(60)
    async with world.broker.connect(client_id="broker that was behind") as behind:
        old = Receipt(v=1, epoch=world.outbox.epoch, stored=((1, 12),))
        await behind.publish([Message(TOPICS.of(Kind.RECEIPT), encode_receipt(old), retain=True)])

    async with running(bridge.run):
        await until(lambda: bridge.counters["bridge.receipts"] > 1)
    world.outbox.close()

    assert bridge.counters["bridge.asked_again"] == 0
