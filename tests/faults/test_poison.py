"""A message that no store can hold: found, put aside and counted; what came with it is stored."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from edge_sdk.base.clock import SystemClock
from edge_sdk.base.errors import StoreError
from edge_sdk.monitor.ingest import Ingest
from edge_sdk.monitor.intake import Intake
from edge_sdk.monitor.store.base import Batch, Committed, Source
from edge_sdk.monitor.store.reader import StoreReader
from edge_sdk.monitor.store.sqlite import SqliteStore
from edge_sdk.mqtt.memory import MemoryBroker
from tests.monitor.talk import Talker
from tests.mqtt.test_bridge import running, until

GATE = Talker()


class PickyStore(SqliteStore):
    """A store that cannot hold some numbers, as one with a fault of ours."""

    bad: frozenset[int] = frozenset()
    is_full = False

    def commit(self, batch: Batch, *, now_ns: int) -> Committed:
        if self.is_full:
            raise StoreError("The disk is full.")
        if any(one.seq in self.bad for arrivals in batch.results.values() for one in arrivals):
            raise OverflowError("too large to hold")
        return super().commit(batch, now_ns=now_ns)


def test_the_message_that_cannot_be_stored_is_found_among_its_neighbours(tmp_path: Path) -> None:
    store = PickyStore(tmp_path / "monitor.db")
    store.bad = frozenset({13, 77})

    done = Intake(store, SystemClock(), 1 << 20).commit([GATE.result(seq) for seq in range(1, 101)])

    store.close()
    assert done.receipts[Source(GATE.site, GATE.station, GATE.epoch)].stored == ((1, 12), (14, 76), (78, 100))
    assert sum(map(len, done.new.values())) == 98
    with StoreReader(tmp_path / "monitor.db") as reader:
        assert reader.counters().received == 100
        assert {(one.reason, one.count) for one in reader.quarantine()} == {("unstorable", 2)}


def test_a_full_disk_is_no_fault_of_the_messages(tmp_path: Path) -> None:
    store = PickyStore(tmp_path / "monitor.db")
    store.is_full = True

    with pytest.raises(StoreError):
        Intake(store, SystemClock(), 1 << 20).commit([GATE.result(seq) for seq in range(1, 101)])

    store.close()
    with StoreReader(tmp_path / "monitor.db") as reader:
        assert not reader.quarantine()


@pytest.mark.anyio
async def test_the_monitor_goes_on_behind_it(tmp_path: Path) -> None:
    broker, store = MemoryBroker(), PickyStore(tmp_path / "monitor.db")
    store.bad = frozenset({2})
    ingest = Ingest(store, lambda: broker.connect(client_id="monitor"), SystemClock())
    async with running(ingest.run), broker.connect(client_id="station") as station:
        await until(lambda: ingest.state.is_connected)
        await anyio.lowlevel.checkpoint()
        await station.publish([GATE.result(1), GATE.result(2), GATE.result(3)])
        await until(lambda: ingest.state.commits > 0)
        await station.publish([GATE.pack([4, 5])])
        await until(lambda: ingest.state.commits > 1)
        ingest.stop()
    store.close()

    with StoreReader(tmp_path / "monitor.db") as reader:
        assert sorted(one.seq for one in reader.results()) == [1, 3, 4, 5]
