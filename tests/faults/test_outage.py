"""A long outage, and a flood: memory stays flat, and what comes after is delivered."""

from __future__ import annotations

import logging
from contextlib import closing
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from edge_sdk.base.clock import SystemClock
from edge_sdk.mqtt.relay import Relay
from edge_sdk.outbox.quota import OnFull, Quota
from edge_sdk.outbox.sqlite import SqliteOutbox
from tests.mqtt.test_bridge import World, running, until
from tests.outbox.test_outbox import result

pytestmark = pytest.mark.anyio


def rss_bytes() -> int:
    text = Path("/proc/self/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) * 1024


A_WEEK = 7 * 86_400 * 10
"""As many as a week has at ten a second."""


async def outage(directory: Path, results: int, quota: Quota) -> tuple[int, int, int]:
    """Put `results` while the broker is away; memory after a tenth of it and at the end, and rows held."""
    world = World(directory)
    world.outbox.close()
    world.outbox = SqliteOutbox.open(directory / "outage.db", clock=SystemClock(), quota=quota)
    world.broker.stop()
    bridge = world.bridge()
    group = [result(n, padding=300) for n in range(500)]
    early = 0
    with closing(world.outbox):
        async with running(bridge.run):
            for done in range(0, results, len(group)):
                rows = await anyio.to_thread.run_sync(world.outbox.put, group)
                bridge.offer(rows)
                if done <= results // 10:
                    early = rss_bytes()
        stats = world.outbox.stats()
        assert stats.rows + stats.dropped == results
        assert stats.file_bytes < quota.bytes + 6 * 1024 * 1024
    return early, rss_bytes(), stats.rows


@pytest.fixture(autouse=True)
def no_records(caplog: pytest.LogCaptureFixture) -> None:
    """pytest would keep every record of every try to connect, and that is not flat."""
    caplog.set_level(logging.CRITICAL)


async def test_memory_stays_flat_while_the_broker_is_away(tmp_path: Path) -> None:
    early, late, held = await outage(tmp_path, 30_000, Quota(bytes=8 * 1024 * 1024))

    assert late < 1.1 * early
    assert held > 5_000


@pytest.mark.slow
@pytest.mark.parametrize("on_full", ["drop_oldest", "thin"])
async def test_the_long_form_of_an_outage_of_a_week(tmp_path: Path, on_full: OnFull) -> None:
    early, late, held = await outage(tmp_path, A_WEEK, Quota(on_full=on_full))
    print(
        f"{A_WEEK} results during an outage, {on_full}: memory {early / 1e6:.1f} MB early,"
        f" {late / 1e6:.1f} MB at the end, {held} held"
    )

    assert late < 1.1 * early


async def test_a_flood_goes_to_the_backlog_and_is_delivered(tmp_path: Path) -> None:
    world = World(tmp_path)
    bridge = world.bridge()
    with closing(world.outbox):
        async with running(world.monitor, bridge.run):
            await until(lambda: bridge.connected)
            for _ in range(40):
                rows = world.outbox.put([result(n) for n in range(200)])
                bridge.offer(rows)  # 8,000 rows without giving the bridge a turn
            await until(lambda: world.outbox.stats().rows == 0)

    assert set(world.stored) == set(range(1, 8001))
    assert bridge.counters["bridge.sent_live"] <= 3000


def test_a_relay_that_waits_holds_ranges_and_not_rows() -> None:
    relay = Relay()
    relay.connected(oldest=1, newest=6_000_000)

    assert relay.backlog == ((1, 6_000_000),)
