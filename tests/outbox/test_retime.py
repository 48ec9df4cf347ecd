"""A station without a clock of its own: times are repaired once the clock is set."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import msgspec

from edge_sdk.base.clock import ClockState, ManualClock, from_datetime, to_datetime
from edge_sdk.contract.envelope import OutboxRow
from edge_sdk.contract.result import FusedResult
from edge_sdk.outbox.sqlite import SqliteOutbox

TRUE_START_NS = 1_767_225_600_000_000_000
YEARS_S = 56 * 365 * 86_400


def measured(clock: ManualClock) -> FusedResult:
    """A result of this moment, as the clock tells it."""
    moment = to_datetime(clock.wall_ns())
    return FusedResult(stream="s", t=moment, observed=moment, clock=clock.state(), method="m", value=1.0)


def wrong_clock() -> ManualClock:
    """A clock that begins years behind."""
    return ManualClock(wall=TRUE_START_NS - YEARS_S * 10**9, clock_state=ClockState.UNSYNCED)


def open_at(path: Path, clock: ManualClock, boot: str = "first") -> SqliteOutbox:
    return SqliteOutbox.open(path / "outbox.db", clock=clock, boot=boot)


def read(outbox: SqliteOutbox) -> list[FusedResult]:
    rows: list[OutboxRow] = list(outbox.read(after=0, limit=100))
    return [msgspec.json.decode(row.body, type=FusedResult) for row in rows]


def set_clock(clock: ManualClock) -> None:
    clock.step(YEARS_S)
    clock.clock_state = ClockState.SYNCED


def test_results_from_before_the_clock_was_set_get_their_true_times_and_keep_their_order(tmp_path: Path) -> None:
    clock = wrong_clock()
    with closing(open_at(tmp_path, clock)) as outbox:
        for _ in range(3):
            outbox.put([measured(clock)])
            clock.advance(10)
        set_clock(clock)
        outbox.put([measured(clock)])

        results = read(outbox)

    assert [from_datetime(one.t) for one in results] == [TRUE_START_NS + n * 10 * 10**9 for n in range(4)]
    assert {one.clock for one in results} == {ClockState.SYNCED}
    assert [one.flags for one in results] == [("retimed",)] * 3 + [()]


def test_until_the_clock_is_set_they_say_that_it_was_not(tmp_path: Path) -> None:
    clock = wrong_clock()
    with closing(open_at(tmp_path, clock)) as outbox:
        outbox.put([measured(clock)])

        [one] = read(outbox)

    assert one.clock is ClockState.UNSYNCED
    assert from_datetime(one.t) == clock.wall_ns()


def test_a_restart_of_the_process_does_not_hinder_the_repair(tmp_path: Path) -> None:
    clock = wrong_clock()
    with closing(open_at(tmp_path, clock)) as outbox:
        outbox.put([measured(clock)])
    set_clock(clock)

    with closing(open_at(tmp_path, clock)) as outbox:
        [one] = read(outbox)

    assert from_datetime(one.t) == TRUE_START_NS


def test_after_a_reboot_nobody_knows_so_they_stay_unsynced(tmp_path: Path) -> None:
    clock = wrong_clock()
    with closing(open_at(tmp_path, clock)) as outbox:
        outbox.put([measured(clock)])
    set_clock(clock)

    with closing(open_at(tmp_path, clock, boot="second")) as outbox:
        [one] = read(outbox)

    assert one.clock is ClockState.UNSYNCED


def test_a_step_of_a_clock_that_was_right_changes_nothing(tmp_path: Path) -> None:
    clock = ManualClock()
    with closing(open_at(tmp_path, clock)) as outbox:
        outbox.put([measured(clock)])
        before = read(outbox)
        clock.step(365 * 86_400)

        assert read(outbox) == before
