"""The book of alerts: each change once, whatever restarts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from edge_sdk.monitor.alerts.book import AlertBook
from edge_sdk.monitor.alerts.rules import Rule, When
from edge_sdk.monitor.store.views import Latest, StationView

S = 10**9
SILENT = Rule(name="silent", when=When.SILENT, for_s=10)
BACKLOG = Rule(name="backlog", when=When.BACKLOG_ABOVE, threshold=100, clear=50)


def view(station: str = "gate-1", *, state: str = "online", backlog: int = 0, **latest: object) -> StationView:
    last = Latest(
        stream="activity", t_ns=0, **{"label": "walk", "confidence": 0.9, "value": None, "unit": None,
                                      "degraded": False, **latest},  # type: ignore[arg-type]
    )  # fmt: skip
    return StationView(
        site="north", station=station, state=state, state_ns=0, last_seen_ns=0, version="", board="", backends="",
        fallback="", latitude=None, longitude=None, backlog=backlog, temperature_c=70.0, streams=[last],
    )  # fmt: skip


class Desk:
    """A book that can be closed and opened again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.book = self.open()

    def open(self) -> AlertBook:
        return AlertBook(self.path, [SILENT, BACKLOG], ["ops"])

    def restart(self) -> None:
        self.book.close()
        self.book = self.open()

    def titles(self) -> list[str]:
        return [notice.title for _, notice in self.book.unsent("ops")]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "alerts")
    yield made
    made.book.close()


def test_a_condition_must_hold_for_its_time_before_the_alert_fires(desk: Desk) -> None:
    silent = view(state="silent")

    assert desk.book.judge([silent], now_ns=0) == 0
    assert desk.book.judge([silent], now_ns=9 * S) == 0
    assert desk.book.judge([silent], now_ns=10 * S) == 1
    assert desk.book.judge([silent], now_ns=99 * S) == 0

    assert [(one.rule, one.station, one.why) for one in desk.book.firing()] == [("silent", "gate-1", "says nothing")]
    assert desk.titles() == ["ALERT: silent, north/gate-1"]


def test_a_condition_that_comes_and_goes_starts_its_time_anew(desk: Desk) -> None:
    desk.book.judge([view(state="silent")], now_ns=0)
    desk.book.judge([view()], now_ns=5 * S)

    assert desk.book.judge([view(state="silent")], now_ns=12 * S) == 0
    assert desk.titles() == []


def test_an_alert_goes_out_beyond_its_lower_bound_only(desk: Desk) -> None:
    desk.book.judge([view(backlog=101)], now_ns=0)
    assert desk.book.judge([view(backlog=80)], now_ns=S) == 0
    assert len(desk.book.firing()) == 1

    assert desk.book.judge([view(backlog=50)], now_ns=2 * S) == 1

    assert desk.book.firing() == []
    assert desk.titles() == ["ALERT: backlog, north/gate-1", "over: backlog, north/gate-1"]


def test_a_restart_says_nothing_twice_and_forgets_no_waiting_time(desk: Desk) -> None:
    desk.book.judge([view(state="silent", backlog=101)], now_ns=0)
    desk.restart()

    assert desk.book.judge([view(state="silent", backlog=101)], now_ns=10 * S) == 1

    assert desk.titles() == ["ALERT: backlog, north/gate-1", "ALERT: silent, north/gate-1"]
    assert {one.rule for one in desk.book.firing()} == {"silent", "backlog"}


def test_stations_that_change_together_are_told_in_one_notice(desk: Desk) -> None:
    desk.book.judge([view(f"gate-{number}", backlog=101) for number in range(30)], now_ns=0)

    assert desk.titles() == ["ALERT: backlog, north/gate-0 and 29 more"]


def test_a_notice_is_kept_until_it_is_sent(desk: Desk) -> None:
    desk.book.judge([view(backlog=101)], now_ns=0)
    desk.restart()

    [(number, _)] = desk.book.unsent("ops")
    desk.book.sent(number)
    desk.restart()

    assert desk.titles() == []


def test_a_silence_stops_notices_and_hides_no_alert(desk: Desk) -> None:
    desk.book.silence("back*", "*", "gate-1", until_ns=60 * S, who="ada")

    desk.book.judge([view(backlog=101), view("gate-2", backlog=101)], now_ns=0)

    assert len(desk.book.firing()) == 2
    assert desk.titles() == ["ALERT: backlog, north/gate-2"]


def test_somebody_sees_to_an_alert(desk: Desk) -> None:
    desk.book.judge([view(backlog=101)], now_ns=0)

    assert desk.book.acknowledge("backlog", "north", "gate-1", who="ada")
    assert not desk.book.acknowledge("silent", "north", "gate-1", who="ada")
    desk.restart()

    assert desk.book.firing()[0].acknowledged == "ada"


def test_a_rule_that_was_taken_away_takes_its_alerts_along(tmp_path: Path) -> None:
    book = AlertBook(tmp_path / "alerts", [BACKLOG], [])
    book.judge([view(backlog=101)], now_ns=0)
    book.close()

    book = AlertBook(tmp_path / "alerts", [SILENT], [])
    book.judge([view(backlog=101)], now_ns=S)

    assert book.firing() == []
    book.close()


@pytest.mark.parametrize(
    ("rule", "given", "holds"),
    [
        ({"when": "offline"}, {"state": "offline"}, True),
        ({"when": "offline"}, {"state": "silent"}, False),
        ({"when": "label", "labels": ["smoke"]}, {"label": "smoke"}, True),
        ({"when": "label", "labels": ["smoke"]}, {"label": "walk"}, False),
        ({"when": "value_above", "threshold": 3}, {"value": 3.5}, True),
        ({"when": "value_above", "threshold": 3}, {"value": None}, False),
        ({"when": "value_below", "threshold": 3}, {"value": 2.0}, True),
        ({"when": "confidence_below", "threshold": 0.5}, {"confidence": 0.4}, True),
        ({"when": "confidence_below", "threshold": 0.5}, {"confidence": 0.6}, False),
        ({"when": "degraded"}, {"degraded": True}, True),
        ({"when": "temperature_above", "threshold": 65}, {}, True),
        ({"when": "label", "labels": ["smoke"], "stream": "sound"}, {"label": "smoke"}, False),
    ],
)
def test_rules_look_at_what_they_say(rule: dict[str, object], given: dict[str, object], holds: bool) -> None:
    made = msgspec.convert({"name": "r", **rule}, Rule)

    assert (made.judge(view(**given), fires=False) is not None) is holds  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        {"when": "backlog_above"},
        {"when": "silent", "threshold": 1},
        {"when": "label"},
        {"when": "backlog_above", "threshold": 1, "clear": 2},
        {"when": "silent", "for_s": -1},
        {"when": "noise"},
    ],
)
def test_a_rule_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": "r", **wrong}, Rule)
