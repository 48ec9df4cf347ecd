"""Clocks that are wrong: 1970 at boot, steps of a year, NTP after an hour. The stream lives, times are repaired."""

from __future__ import annotations

import itertools
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

import msgspec
import pytest

from edge_sdk.base.clock import ClockState, ManualClock, SystemClock, from_datetime, to_datetime
from edge_sdk.contract.receipt import Receipt
from edge_sdk.contract.result import FusedResult
from edge_sdk.contract.topics import Kind
from edge_sdk.monitor.ingest import Ingest
from edge_sdk.monitor.store.reader import StoreReader
from edge_sdk.monitor.store.sqlite import SqliteStore
from edge_sdk.mqtt.bridge import Bridge
from edge_sdk.mqtt.transport import Message
from edge_sdk.outbox.quota import Quota
from edge_sdk.outbox.retime import RETIMED
from tests.mqtt.test_bridge import TOPICS, World, running, until

pytestmark = pytest.mark.anyio

A_YEAR_S = 365.25 * 86_400
TODAY_NS = from_datetime(datetime(2026, 11, 21, 12, tzinfo=timezone.utc))


def now(clock: ManualClock, number: int) -> FusedResult:
    """A result as the station makes it at this moment."""
    moment = to_datetime(clock.wall_ns())
    return FusedResult(
        stream="s", t=moment, observed=moment, clock=clock.state(), method="weighted_mean", value=float(number)
    )


class Story:
    """A station with a clock of its own, and a monitor that stores what it sends."""

    def __init__(self, directory: Path, clock: ManualClock, quota: Quota | None = None) -> None:
        self.clock = clock
        self.world = World(directory, quota, clock)
        self._path = directory / "monitor.db"
        self.store = SqliteStore(self._path)
        connect = lambda: self.world.broker.connect(  # noqa: E731
            client_id="monitor", clean_start=False, session_expiry_s=600
        )
        self.ingest = Ingest(self.store, connect, SystemClock())
        self.bridge: Bridge = self.world.bridge()
        self.made = 0

    def make(self, count: int, every_s: float, *, offered: bool = True) -> None:
        for _ in range(count):
            self.made += 1
            rows = self.world.outbox.put([now(self.clock, self.made)])
            if offered:
                self.bridge.offer(rows)
            self.clock.advance(every_s)

    async def drained(self) -> None:
        await until(lambda: self.world.outbox.stats().rows == 0)

    def stored(self) -> list[tuple[int, float, str, bool]]:
        """Number, seconds since `TODAY_NS`, state of the clock, whether the times were repaired."""
        with StoreReader(self._path) as reader:
            found = sorted(reader.results(limit=10_000), key=lambda one: one.seq)
        return [
            (one.seq, (one.t_ns - TODAY_NS) / 1e9, body.clock.value, RETIMED in body.flags)
            for one, body in ((one, msgspec.json.decode(one.body, type=FusedResult)) for one in found)
        ]


async def test_results_from_1970_get_their_true_times_once_ntp_has_answered_an_hour_later(tmp_path: Path) -> None:
    clock = ManualClock(wall=5 * 10**9, clock_state=ClockState.UNSYNCED)
    story = Story(tmp_path, clock)
    with closing(story.world.outbox), closing(story.store):
        story.make(60, 60.0, offered=False)  # an hour without network and without time
        clock.wall, clock.clock_state = TODAY_NS, ClockState.SYNCED
        async with running(story.ingest.run, story.bridge.run):
            await until(lambda: story.bridge.connected)
            story.make(10, 1.0)
            await story.drained()

        rows = story.stored()
    assert [seq for seq, *_ in rows] == list(range(1, 71))
    assert [round(t) for _, t, *_ in rows[:60]] == list(range(-3600, 0, 60))
    assert all(a[1] < b[1] for a, b in itertools.pairwise(rows))
    assert {(state, mended) for _, _, state, mended in rows[:60]} == {("synced", True)}


async def test_results_that_went_out_at_once_say_that_their_time_is_not_to_be_believed(tmp_path: Path) -> None:
    clock = ManualClock(wall=5 * 10**9, clock_state=ClockState.UNSYNCED)
    story = Story(tmp_path, clock)
    with closing(story.world.outbox), closing(story.store):
        async with running(story.ingest.run, story.bridge.run):
            await until(lambda: story.bridge.connected)
            story.make(20, 1.0)
            await story.drained()

        rows = story.stored()
    assert [seq for seq, *_ in rows] == list(range(1, 21))
    assert {(state, mended) for _, _, state, mended in rows} == {("unsynced", False)}


@pytest.mark.parametrize("step_s", [A_YEAR_S, -A_YEAR_S])
async def test_a_step_of_a_year_stops_nothing_and_changes_no_number(tmp_path: Path, step_s: float) -> None:
    clock = ManualClock(wall=TODAY_NS)
    story = Story(tmp_path, clock, Quota(keep_after_receipt_s=3600.0))
    with closing(story.world.outbox), closing(story.store):
        async with running(story.ingest.run, story.bridge.run):
            await until(lambda: story.bridge.connected)
            story.make(20, 1.0)
            clock.step(step_s)
            story.make(20, 1.0)
            await story.drained()
            story.world.broker.cut("station")
            story.make(20, 1.0)
            await story.drained()

        rows = story.stored()
        stats = story.world.outbox.stats()
    assert [seq for seq, *_ in rows] == list(range(1, 61))
    assert [round(t - step_s) for _, t, *_ in rows[20:]] == list(range(20, 60))
    assert (stats.dropped, stats.kept) == (0, 60)


async def test_a_result_that_was_sent_before_ntp_and_again_after_it_is_no_conflict(tmp_path: Path) -> None:
    clock = ManualClock(wall=5 * 10**9, clock_state=ClockState.UNSYNCED)
    story = Story(tmp_path, clock, Quota(keep_after_receipt_s=3600.0))
    with closing(story.world.outbox), closing(story.store):
        async with running(story.ingest.run, story.bridge.run):
            await until(lambda: story.bridge.connected)
            story.make(20, 1.0)
            await story.drained()
        clock.advance(60)
        clock.wall, clock.clock_state = TODAY_NS, ClockState.SYNCED
        assert story.world.outbox.again(Receipt(v=1, epoch=story.world.outbox.epoch, stored=()))
        async with story.world.broker.connect(client_id="somebody") as somebody:
            await somebody.publish([Message(TOPICS.of(Kind.RECEIPT), b"", retain=True)])
        bridge = story.world.bridge()
        async with running(bridge.run):
            await until(lambda: bridge.counters["bridge.sent_backlog"] == 20)
            async with running(story.ingest.run):
                await story.drained()
        with StoreReader(tmp_path / "monitor.db") as reader:
            counters = reader.counters()

    assert (counters.results, counters.conflicts) == (20, 0)
