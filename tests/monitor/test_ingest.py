"""Ingest against a broker: in memory, and a real mosquitto."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from edge_sdk.base.backoff import Backoff
from edge_sdk.base.clock import SystemClock
from edge_sdk.base.errors import StoreError
from edge_sdk.contract.receipt import Receipt, decode_receipt
from edge_sdk.contract.topics import Kind
from edge_sdk.monitor.ingest import Ingest
from edge_sdk.monitor.store.base import Batch, Committed, Limits
from edge_sdk.monitor.store.reader import StoreReader
from edge_sdk.monitor.store.sqlite import SqliteStore
from edge_sdk.mqtt.memory import MemoryBroker
from edge_sdk.mqtt.paho import PahoTransport
from edge_sdk.mqtt.transport import BrokerAddress, Message, Transport
from tests.brokers import mosquitto
from tests.monitor.talk import Talker

pytestmark = pytest.mark.anyio
GATE = Talker()
RECEIPTS = GATE.topic(Kind.RECEIPT)


class Centre:
    """A broker of one kind or the other, and the ingest on it."""

    def __init__(self, path: Path, connect: Callable[..., Transport]) -> None:
        self.path = path
        self.connect = connect

    @asynccontextmanager
    async def station(self, client_id: str = "station") -> AsyncIterator[Transport]:
        async with self.connect(client_id=client_id) as transport:
            yield transport

    @asynccontextmanager
    async def monitor(self) -> AsyncIterator[Ingest]:
        store = SqliteStore(self.path)
        ingest = Ingest(
            store,
            lambda: self.connect(client_id="edge-monitor", clean_start=False, session_expiry_s=600),
            SystemClock(),
            backoff=Backoff(base_s=0.02, cap_s=0.1),
            receipt_interval_s=0.01,
        )
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(ingest.run, name="ingest")
                await until(lambda: ingest.state.is_connected)
                yield ingest
                ingest.stop()
        finally:
            store.close()

    def stored(self) -> list[tuple[str, int]]:
        with StoreReader(self.path) as reader:
            return [(one.epoch, one.seq) for one in reader.results()]


async def until(is_so: Callable[[], bool], *, deadline_s: float = 20.0) -> None:
    with anyio.fail_after(deadline_s):
        while not is_so():
            await anyio.sleep(0.005)


async def receipt_until(transport: Transport, is_so: Callable[[Receipt], bool]) -> Receipt:
    """Read receipts until one is as wanted."""
    with anyio.fail_after(60):
        while True:
            messages = await transport.receive()
            transport.ack(messages)
            for message in messages:
                receipt = decode_receipt(message.payload)
                if is_so(receipt):
                    return receipt


@pytest.fixture(params=["memory", "mosquitto"])
def centre(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Centre]:
    if request.param == "memory":
        yield Centre(tmp_path / "monitor.db", MemoryBroker().connect)
        return
    with mosquitto(tmp_path / "broker") as running:
        address = BrokerAddress.parse(running.url)
        yield Centre(tmp_path / "monitor.db", lambda **given: PahoTransport(address, **given))


async def test_results_are_stored_and_a_receipt_comes_back(centre: Centre) -> None:
    async with centre.monitor(), centre.station() as station:
        await station.subscribe(RECEIPTS)
        await station.publish([GATE.birth(), GATE.status(), *(GATE.result(seq) for seq in range(1, 51))])

        receipt = await receipt_until(station, lambda one: one.holds(50))

    assert receipt == Receipt(v=1, epoch=GATE.epoch, stored=((1, 50),))
    assert centre.stored() == [(GATE.epoch, seq) for seq in range(1, 51)]


async def test_duplicates_are_stored_once_and_packs_fill_gaps(centre: Centre) -> None:
    async with centre.monitor(), centre.station() as station:
        await station.subscribe(RECEIPTS)
        await station.publish([GATE.result(1), GATE.result(4), GATE.result(4), GATE.pack([1, 2, 3, 4])])

        await receipt_until(station, lambda one: one.stored == ((1, 4),))

    with StoreReader(centre.path) as reader:
        assert reader.counters().results == 4
        assert reader.counters().duplicates == 3


async def test_what_came_while_the_monitor_was_away_is_stored_when_it_is_back(centre: Centre) -> None:
    async with centre.monitor():
        pass
    async with centre.station() as station:
        await station.publish([GATE.result(seq) for seq in range(1, 21)])

    async with centre.monitor():
        await until(lambda: len(centre.stored()) == 20)


async def test_a_monitor_with_an_empty_store_asks_for_everything_again(centre: Centre) -> None:
    async with centre.station() as station:
        await station.subscribe(RECEIPTS)
        await station.publish([GATE.birth(), GATE.status()])
        async with centre.monitor():
            await station.publish([GATE.pack(range(1, 11))])
            await receipt_until(station, lambda one: one.holds(10))

        for path in centre.path.parent.glob("monitor.db*"):
            path.unlink()
        async with centre.monitor():
            receipt = await receipt_until(station, lambda one: not one.stored)

    assert receipt.epoch == GATE.epoch


async def test_a_monitor_that_was_put_back_replaces_the_retained_receipt(centre: Centre) -> None:
    async with centre.station() as station:
        await station.publish([GATE.birth(), GATE.status()])
        await station.subscribe(RECEIPTS)
        async with centre.monitor():
            await station.publish([GATE.pack(range(1, 6))])
            await receipt_until(station, lambda one: one.holds(5))
        backup = centre.path.read_bytes()
        async with centre.monitor():
            await station.publish([GATE.pack(range(6, 11))])
            await receipt_until(station, lambda one: one.holds(10))
        for path in centre.path.parent.glob("monitor.db*"):
            path.unlink()
        centre.path.write_bytes(backup)

        async with centre.monitor():
            receipt = await receipt_until(station, lambda one: not one.holds(10))

    assert receipt.stored == ((1, 5),)
    async with centre.station("late") as late:
        await late.subscribe(RECEIPTS)
        assert (await receipt_until(late, lambda one: True)).stored == ((1, 5),)


async def test_malformed_messages_are_counted_and_stop_nothing(centre: Centre) -> None:
    rubbish = [Message(GATE.result(1).topic, payload) for payload in (b"", b"\xff", b"{}", b"[" * 5000, b'{"v":9}')]
    async with centre.monitor(), centre.station() as station:
        await station.subscribe(RECEIPTS)
        await station.publish([*rubbish, GATE.result(1)])

        await receipt_until(station, lambda one: one.holds(1))

    with StoreReader(centre.path) as reader:
        assert reader.counters().quarantined == 5
        assert sum(one.count for one in reader.quarantine()) == 5


async def test_a_broker_that_is_killed_and_forgets_loses_no_receipt(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker") as running:
        address = BrokerAddress.parse(running.url)
        centre = Centre(tmp_path / "monitor.db", lambda **given: PahoTransport(address, **given))
        async with centre.monitor() as ingest:
            async with centre.station() as station:
                await station.publish([GATE.birth(), GATE.pack(range(1, 11))])
                await until(lambda: len(centre.stored()) == 10)
            running.restart()
            await until(lambda: ingest.state.connections == 2)
            async with centre.station() as station:
                await station.subscribe(RECEIPTS)
                await station.publish([GATE.birth(), GATE.result(11)])

                receipt = await receipt_until(station, lambda one: one.holds(11))

    assert receipt.stored == ((1, 11),)


async def test_while_the_store_refuses_nothing_is_acknowledged_and_nothing_is_lost(tmp_path: Path) -> None:
    broker = MemoryBroker()
    store = SqliteStore(tmp_path / "monitor.db")
    full = FullDisk(store, refusals=3)
    ingest = Ingest(full, lambda: broker.connect(client_id="edge-monitor"), SystemClock())
    async with anyio.create_task_group() as group:
        group.start_soon(ingest.run, name="ingest")
        await until(lambda: ingest.state.is_connected)
        async with broker.connect(client_id="station") as station:
            await station.subscribe(RECEIPTS)
            await station.publish([GATE.result(1)])
            receipt = await receipt_until(station, lambda one: True)
        ingest.stop()
    store.close()

    assert full.refusals == 0
    assert receipt.stored == ((1, 1),)
    assert ingest.state.last_error == ""


class FullDisk:
    """A store whose medium is full for the first commits."""

    def __init__(self, store: SqliteStore, *, refusals: int) -> None:
        self.store, self.refusals = store, refusals

    def commit(self, batch: Batch, *, now_ns: int) -> Committed:
        if self.refusals:
            self.refusals -= 1
            raise StoreError("The disk is full.")
        return self.store.commit(batch, now_ns=now_ns)

    def prune(self, limits: Limits, *, now_ns: int) -> int:
        return self.store.prune(limits, now_ns=now_ns)

    def roll_up(self) -> int:
        return self.store.roll_up()

    def close(self) -> None:
        self.store.close()


_DIES_AFTER_COMMIT = """
import os, signal, sys
from pathlib import Path
import anyio
from edge_sdk.base.clock import SystemClock
from edge_sdk.monitor.config import BrokerConfig
from edge_sdk.monitor.ingest import Ingest
from edge_sdk.monitor.program import connector
from edge_sdk.monitor.store.sqlite import SqliteStore

class Mortal:
    def __init__(self, store): self.store = store
    def commit(self, batch, *, now_ns):
        committed = self.store.commit(batch, now_ns=now_ns)
        if committed.new:
            os.kill(os.getpid(), signal.SIGKILL)  # after the commit, before the ack
        return committed
    def close(self): self.store.close()

store = Mortal(SqliteStore(Path(sys.argv[1])))
anyio.run(Ingest(store, connector(BrokerConfig(url=sys.argv[2])), SystemClock()).run)
"""


async def test_killed_between_commit_and_ack_nothing_is_lost_and_nothing_double(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker") as running:
        address = BrokerAddress.parse(running.url)
        centre = Centre(tmp_path / "monitor.db", lambda **given: PahoTransport(address, **given))
        async with centre.monitor():
            pass  # from here on the broker keeps the monitor's session
        async with centre.station() as station:
            await station.publish([GATE.result(seq) for seq in range(1, 101)])

        process = await anyio.run_process(
            [sys.executable, "-c", _DIES_AFTER_COMMIT, str(centre.path), running.url], check=False
        )

        assert process.returncode == -signal.SIGKILL, process.stderr.decode()
        assert 1 <= len(centre.stored()) <= 100
        async with centre.monitor(), centre.station() as station:
            await station.subscribe(RECEIPTS)
            await receipt_until(station, lambda one: one.stored == ((1, 100),))

    assert centre.stored() == [(GATE.epoch, seq) for seq in range(1, 101)]
    with StoreReader(centre.path) as reader:
        assert reader.counters().duplicates >= 1
