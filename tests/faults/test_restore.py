"""A monitor restored from an old backup, or with an empty store, gets again what stations keep."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from edge_sdk.base.clock import ManualClock, SystemClock
from edge_sdk.monitor.ingest import Ingest
from edge_sdk.monitor.store.reader import StoreReader
from edge_sdk.monitor.store.sqlite import SqliteStore
from edge_sdk.outbox.quota import Quota
from tests.mqtt.test_bridge import World, running, until

pytestmark = pytest.mark.anyio

AN_HOUR_S = 3600.0


class Centre:
    """A monitor in front of the world's broker, whose store can be saved, lost and put back."""

    def __init__(self, world: World, path: Path) -> None:
        self._world, self._path = world, path

    def open(self) -> tuple[SqliteStore, Ingest]:
        store = SqliteStore(self._path)
        connect = lambda: self._world.broker.connect(  # noqa: E731
            client_id="monitor", clean_start=False, session_expiry_s=600
        )
        return store, Ingest(store, connect, SystemClock())

    def stored(self) -> list[int]:
        with StoreReader(self._path) as reader:
            return sorted(one.seq for one in reader.results(limit=10_000))

    def save(self, backup: Path) -> None:
        shutil.copy(self._path, backup)

    def put_back(self, backup: Path | None) -> None:
        for path in self._path.parent.glob("monitor.db*"):
            path.unlink()
        if backup is not None:
            shutil.copy(backup, self._path)


@pytest.mark.parametrize("has_backup", [True, False])
async def test_what_the_monitor_lost_is_sent_again(tmp_path: Path, has_backup: bool) -> None:
    clock = ManualClock()
    world = World(tmp_path, Quota(keep_after_receipt_s=AN_HOUR_S), clock)
    centre = Centre(world, tmp_path / "centre" / "monitor.db")
    bridge = world.bridge()
    with closing(world.outbox):
        async with running(bridge.run):
            await until(lambda: bridge.connected)
            for last in (100, 250):
                store, ingest = centre.open()
                async with running(ingest.run):
                    await world.put(bridge, *range(last - world.outbox.stats().newest))
                    await until(lambda: world.outbox.stats().rows == 0)
                    ingest.stop()
                store.close()
                if last == 100:
                    centre.save(tmp_path / "backup.db")
            clock.advance(60)
            centre.put_back(tmp_path / "backup.db" if has_backup else None)

            store, ingest = centre.open()
            async with running(ingest.run):
                await until(lambda: len(centre.stored()) == 250)
                await until(lambda: world.outbox.stats().rows == 0)
                ingest.stop()
            store.close()

    assert centre.stored() == list(range(1, 251))
    assert bridge.counters["bridge.asked_again"] == (150 if has_backup else 250)


async def test_what_the_station_keeps_no_longer_is_told_to_be_gone(tmp_path: Path) -> None:
    clock = ManualClock()
    world = World(tmp_path, Quota(keep_after_receipt_s=AN_HOUR_S), clock)
    centre = Centre(world, tmp_path / "centre" / "monitor.db")
    with closing(world.outbox):
        bridge = world.bridge()
        store, ingest = centre.open()
        async with running(ingest.run, bridge.run):
            await until(lambda: bridge.connected)
            await world.put(bridge, *range(100))
            await until(lambda: world.outbox.stats().rows == 0)
            clock.advance(AN_HOUR_S + 60)
            await world.put(bridge, *range(50))
            await until(lambda: world.outbox.stats().rows == 0)
            ingest.stop()
        store.close()
        clock.advance(60)
        centre.put_back(None)

        bridge = world.bridge()
        store, ingest = centre.open()
        async with running(ingest.run, bridge.run):  # the station starts again, too: its birth says what it has
            await until(lambda: len(centre.stored()) == 50)
            await until(lambda: world.outbox.stats().rows == 0)
            ingest.stop()
        store.close()

    assert centre.stored() == list(range(101, 151))
    with StoreReader(tmp_path / "centre" / "monitor.db") as reader:
        assert reader.counters().given_up == 100
        assert reader.counters().missing == 0


async def test_a_monitor_that_lost_all_gets_again_what_a_station_keeps_of_its_former_epochs(tmp_path: Path) -> None:
    clock = ManualClock()
    world = World(tmp_path / "card", Quota(keep_after_receipt_s=AN_HOUR_S), clock)
    centre = Centre(world, tmp_path / "centre" / "monitor.db")
    with closing(world.outbox):
        bridge = world.bridge()
        store, ingest = centre.open()
        async with running(ingest.run, bridge.run):
            await until(lambda: bridge.connected)
            await world.put(bridge, *range(100))
            await until(lambda: world.outbox.stats().rows == 0)
            ingest.stop()
        store.close()
    centre.put_back(None)
    shutil.copytree(tmp_path / "card", tmp_path / "clone")
    broker, world = world.broker, World(tmp_path / "clone", Quota(keep_after_receipt_s=AN_HOUR_S), clock)
    world.broker = broker
    clock.advance(60)

    with closing(world.outbox):
        assert len(world.outbox.epochs.former) == 1
        await world.put(None, *range(50))
        bridge = world.bridge()
        store, ingest = centre.open()
        async with running(ingest.run, bridge.run):
            await until(lambda: len(centre.stored()) == 150)
            await until(lambda: world.outbox.stats().rows == 0)
            ingest.stop()
        store.close()

    assert centre.stored() == sorted([*range(1, 101), *range(1, 51)]), "each under the number of its epoch"
    assert bridge.counters["bridge.asked_again"] == 100
