"""Who gives way under a full quota: one suite for the outbox on disk and the one in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_sdk.base.clock import ClockState, ManualClock
from edge_sdk.contract.receipt import Receipt
from edge_sdk.outbox.base import Outbox
from edge_sdk.outbox.memory import MemoryOutbox
from edge_sdk.outbox.quota import Quota
from edge_sdk.outbox.sqlite import SqliteOutbox
from tests.outbox.test_outbox import receipt, result, seqs

Open = Callable[..., Outbox]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["sqlite", "memory"])
def open_outbox(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> Iterator[Open]:
    opened: list[Outbox] = []

    def open_one(**options: Any) -> Outbox:
        quota = Quota(**options)
        outbox: Outbox = (
            SqliteOutbox.open(tmp_path / "outbox.db", clock=clock, quota=quota)
            if request.param == "sqlite"
            else MemoryOutbox(clock=clock, quota=quota)
        )
        opened.append(outbox)
        return outbox

    yield open_one
    for outbox in opened:
        outbox.close()


def fill(outbox: Outbox, groups: int, streams: tuple[str, ...] = ("occupancy",)) -> None:
    for n in range(groups):
        outbox.put([result(n * 20 + k, stream=streams[k % len(streams)], padding=1000) for k in range(20)])


def held(outbox: Outbox) -> Counter[str]:
    return Counter(row.stream for row in outbox.read(after=0, limit=100_000))


def test_thin_keeps_the_whole_time_at_a_lower_rate(open_outbox: Open) -> None:
    outbox = open_outbox(bytes=400_000, on_full="thin", keep_every=5)

    fill(outbox, 60)

    stats, numbers = outbox.stats(), seqs(outbox, limit=10_000)
    assert stats.rows == len(numbers) == 1200 - stats.dropped
    assert stats.rows * 1000 > 400_000 * 0.4
    assert numbers[0] == 1
    assert numbers[-20:] == list(range(1181, 1201)), "the newest are whole"
    quarters = Counter((seq - 1) // 300 for seq in numbers)
    assert min(quarters.values()) >= 8, "each quarter of the time is still told of"


@pytest.mark.parametrize("keep_every", [2, 10])
def test_thin_goes_on_as_long_as_the_outage_does(open_outbox: Open, keep_every: int) -> None:
    outbox = open_outbox(bytes=200_000, on_full="thin", keep_every=keep_every)

    fill(outbox, 150)

    stats = outbox.stats()
    assert stats.newest == 3000
    assert stats.rows + stats.dropped == 3000
    assert stats.rows >= 60
    assert stats.file_bytes <= 200_000 + 1024 * 1024 + 64 * 1024


def test_thin_keeps_every_nth_of_each_stream(open_outbox: Open) -> None:
    outbox = open_outbox(bytes=400_000, on_full="thin", keep_every=4)

    fill(outbox, 60, ("occupancy", "air"))

    counts = held(outbox)
    assert abs(counts["occupancy"] - counts["air"]) < 0.2 * counts["air"]


def test_a_stream_of_low_priority_gives_way_first_and_one_of_high_last(open_outbox: Open) -> None:
    outbox = open_outbox(bytes=400_000, priorities={"noise": -1, "alarm": 1})

    fill(outbox, 22, ("occupancy", "noise", "alarm", "occupancy"))
    first = held(outbox)
    fill(outbox, 60, ("occupancy",))
    later = held(outbox)

    assert first["alarm"] == 110
    assert first["occupancy"] > first["noise"]
    assert later["noise"] == 0
    assert later["alarm"] == 110, "not one alarm while others can give way"
    assert later["occupancy"] > 50


def test_alarms_give_way_to_alarms_when_there_is_nothing_else(open_outbox: Open) -> None:
    outbox = open_outbox(bytes=200_000, priorities={"alarm": 1})

    fill(outbox, 40, ("alarm",))

    numbers = seqs(outbox, limit=10_000)
    assert numbers == list(range(outbox.stats().oldest, 801))


def test_low_priority_is_thinned_before_others_are(open_outbox: Open) -> None:
    outbox = open_outbox(bytes=400_000, on_full="thin", keep_every=5, priorities={"noise": -1})

    fill(outbox, 18, ("occupancy", "noise"))

    counts = held(outbox)
    assert counts["occupancy"] == 180
    assert 0 < counts["noise"] < 180


def test_what_is_too_old_is_given_up_and_counted(open_outbox: Open, clock: ManualClock) -> None:
    outbox = open_outbox(max_age_s=3600.0)
    outbox.put([result(n) for n in range(5)])
    clock.advance(3000)
    outbox.put([result(n) for n in range(5)])
    clock.advance(1000)
    assert outbox.stats().rows == 10

    outbox.put([result(1)])

    assert seqs(outbox) == [6, 7, 8, 9, 10, 11]
    assert outbox.stats().dropped == 5


def test_nothing_is_too_old_by_a_clock_that_was_not_set(open_outbox: Open, clock: ManualClock) -> None:
    outbox = open_outbox(max_age_s=3600.0)
    outbox.put([result(1)])
    clock.clock_state = ClockState.UNSYNCED
    clock.step(365 * 86_400)

    outbox.put([result(2)])

    assert seqs(outbox) == [1, 2]


def test_a_receipted_row_is_kept_for_as_long_as_told(open_outbox: Open, clock: ManualClock) -> None:
    outbox = open_outbox(keep_after_receipt_s=600.0)
    outbox.put([result(n) for n in range(10)])
    outbox.acknowledge(receipt(outbox, (1, 10)))
    stats = outbox.stats()
    assert (stats.rows, stats.kept, stats.oldest, stats.first_waiting) == (0, 10, 1, 11)
    assert seqs(outbox) == []

    clock.advance(601)
    outbox.put([result(1)])

    stats = outbox.stats()
    assert (stats.rows, stats.kept, stats.oldest) == (1, 0, 11)
    assert outbox.again(receipt(outbox)) == []


def test_a_monitor_that_lost_some_gets_them_again(open_outbox: Open, clock: ManualClock) -> None:
    outbox = open_outbox(keep_after_receipt_s=600.0)
    outbox.put([result(n) for n in range(10)])
    outbox.acknowledge(receipt(outbox, (1, 10)))
    assert list(outbox.again(receipt(outbox, (1, 4)))) == [], "a second monitor is always a little behind"
    clock.advance(11)

    asked = outbox.again(receipt(outbox, (1, 4), (7, 7)))

    assert list(asked) == [(5, 6), (8, 10)]
    assert seqs(outbox) == [5, 6, 8, 9, 10]
    assert outbox.stats().kept == 5
    assert outbox.acknowledge(receipt(outbox, (1, 10))) == 5


def test_a_receipt_of_another_epoch_or_cut_short_asks_for_no_more_than_it_must(
    open_outbox: Open, clock: ManualClock
) -> None:
    outbox = open_outbox(keep_after_receipt_s=600.0)
    for _ in range(30):
        outbox.put([result(n) for n in range(100)])
    outbox.acknowledge(receipt(outbox, (1, 3000)))
    clock.advance(11)
    cut_short = receipt(outbox, *((2 * n + 1, 2 * n + 1) for n in range(1000)))

    assert list(outbox.again(Receipt(v=1, epoch="0123456789abcdef", stored=()))) == []
    asked = outbox.again(cut_short)

    assert asked[0] == (2, 2)
    assert asked[-1] == (1998, 1998), "what is above the last range of so long a receipt may be stored"


def test_kept_rows_give_way_before_any_that_waits(open_outbox: Open) -> None:
    outbox = open_outbox(bytes=300_000, keep_after_receipt_s=600.0)
    fill(outbox, 10)
    outbox.acknowledge(receipt(outbox, (1, 200)))

    fill(outbox, 10)

    stats = outbox.stats()
    assert (stats.rows, stats.dropped) == (200, 0)
    assert stats.kept < 200


def test_on_the_brokers_word_nothing_is_kept(open_outbox: Open) -> None:
    outbox = open_outbox(keep_after_receipt_s=600.0)
    outbox.put([result(1)])

    assert outbox.acknowledge_sent(1, 1) == 1
    assert outbox.stats().kept == 0


def test_it_says_which_numbers_can_never_be_sent(open_outbox: Open) -> None:
    outbox = open_outbox(keep_after_receipt_s=600.0, bytes=300_000, on_full="thin", keep_every=3)
    fill(outbox, 5)
    outbox.acknowledge(receipt(outbox, (3, 9)))
    assert list(outbox.gone(1, 100)) == []

    fill(outbox, 20)

    numbers = {row.seq for row in outbox.read(after=0, limit=10_000)}
    gone = {seq for low, high in outbox.gone(1, 500) for seq in range(low, high + 1)}
    assert gone
    assert gone == set(range(1, 501)) - numbers
