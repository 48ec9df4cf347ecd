"""Rules that look back: drift of labels and confidence, sensors and neighbours that disagree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from edge_sdk.base.clock import from_datetime
from edge_sdk.contract.envelope import OutboxRow, encode_body, encode_pack
from edge_sdk.contract.events import InputSummary
from edge_sdk.contract.result import FusedResult
from edge_sdk.contract.topics import Kind
from edge_sdk.monitor.alerts.book import AlertBook
from edge_sdk.monitor.alerts.rules import Rule, When
from edge_sdk.monitor.alerts.survey import Survey
from edge_sdk.monitor.store.reader import StoreReader
from edge_sdk.monitor.store.sqlite import SqliteStore
from edge_sdk.monitor.verify import verify_all
from edge_sdk.mqtt.transport import Message
from tests.monitor.talk import START, Talker, fused

GATE = Talker()
DRIFT = Rule(name="drift", when=When.LABEL_DRIFT, threshold=0.25, window_s=600, reference_s=3600)
UNSURE = Rule(name="unsure", when=When.CONFIDENCE_DRIFT, threshold=0.3, window_s=600, reference_s=3600)
QUARREL = Rule(name="quarrel", when=When.SENSORS_DISAGREE, threshold=0.3, window_s=600)
MOVED = Rule(name="moved", when=When.INPUT_DRIFT, threshold=0.5, window_s=600, reference_s=3600)
APART = Rule(name="apart", when=When.NEIGHBOURS_DISAGREE, threshold=0.7)
RULES = (DRIFT, UNSURE, MOVED, QUARREL, APART)


@dataclass
class Room:
    """A store, the book of alerts and the survey; the book can be closed and opened again."""

    directory: Path
    seq: int = 0
    measured: int = 0
    now_ns: int = from_datetime(START)
    store: SqliteStore = field(init=False)

    def __post_init__(self) -> None:
        self.store = SqliteStore(self.directory / "monitor.db")
        self.restart()

    def restart(self) -> None:
        self.reader = StoreReader(self.directory / "monitor.db")
        self.book = AlertBook(self.directory / "alerts", RULES, ["ops"])
        self.survey = Survey(self.reader, RULES)

    def say(self, count: int, talker: Talker = GATE, **said: object) -> None:
        """So many results, six seconds apart; `said` maps fields to values, or to functions of the result."""
        rows = []
        for _ in range(count):
            self.seq += 1
            at = START + timedelta(seconds=6 * self.seq)
            label = said.get("label")
            one = replace(fused(self.seq, label=label if isinstance(label, str) else "walk"), t=at, observed=at)
            changes = {name: value(one) if callable(value) else value for name, value in said.items()}
            rows.append(OutboxRow(self.seq, one.stream, encode_body(replace(one, **changes)), 0))
        pack = encode_pack(rows, station=talker.station, epoch=talker.epoch)
        messages = [talker.status(), Message(talker.topic(Kind.PACK), pack)]
        self.now_ns += 10**9
        self.store.commit(verify_all(messages, max_payload_bytes=1 << 20), now_ns=self.now_ns)

    def measure(self, count: int, mean: Callable[[int], float], *, again: bool = False) -> None:
        """So many health messages, ten seconds apart; `again` tells the same window each time."""
        first = self.measured
        messages = [GATE.status()]
        for _ in range(count):
            self.measured += 1
            at = START + timedelta(seconds=10 * (first + 1 if again else self.measured))
            said = InputSummary(t=at, mean=(0.5, mean(self.measured)), spread=(1.0, 2.0 + 0.01 * (self.measured % 5)))
            messages.append(GATE.health(10 * self.measured, inputs={"activity.accelerometer": said}))
        self.now_ns += 10**9
        self.store.commit(verify_all(messages, max_payload_bytes=1 << 20), now_ns=self.now_ns)

    def judge(self, *, look: bool = True) -> int:
        stations = self.reader.fleet(now_ns=self.now_ns).stations
        if look:
            self.survey.look(stations)
        return self.book.judge(stations, now_ns=self.now_ns, signs=self.survey.signs)

    def firing(self) -> dict[str, str]:
        return {one.rule: one.why for one in self.book.firing()}


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = Room(tmp_path)
    yield made
    made.store.close()


def sure(confidence: float) -> object:
    def change(one: FusedResult) -> object:
        return tuple(replace(part, confidence=confidence + 0.001 * (one.t.second % 7)) for part in one.contributors)

    return change


def test_labels_that_were_seldom_before_are_drift(room: Room) -> None:
    room.say(300)
    room.judge()
    assert room.firing() == {}

    room.say(60, label="run")
    room.say(40)

    assert room.judge() == 1
    assert set(room.firing()) == {"drift"}
    assert "(PSI; run 0% before, " in room.firing()["drift"]


def test_a_sensor_whose_confidence_sinks_is_drift(room: Room) -> None:
    room.say(300, contributors=sure(0.9))
    room.say(100, contributors=sure(0.6))

    room.judge()

    assert set(room.firing()) == {"unsure"}
    assert "mean 0.90 before, 0.6" in room.firing()["unsure"]


def test_sensors_that_say_otherwise_than_the_fused_label_disagree(room: Room) -> None:
    def quarrel(one: FusedResult) -> object:
        return (one.contributors[0], replace(one.contributors[1], label="sit"))

    room.say(300)
    room.say(100, contributors=quarrel)

    room.judge()

    assert room.firing()["quarrel"] == "activity: 50% of what single sensors say is not the fused label"


def test_an_alert_of_the_survey_is_told_once_and_survives_a_restart_before_the_next_look(room: Room) -> None:
    room.say(300)
    room.say(100, label="run")
    assert room.judge() == 1

    room.restart()

    assert room.judge(look=False) == 0
    assert set(room.firing()) == {"drift"}
    assert room.judge() == 0
    assert len(room.book.unsent("ops")) == 1


def test_too_few_results_say_nothing(room: Room) -> None:
    room.say(20)
    room.say(20, label="run")

    assert room.judge() == 0


def test_a_station_whose_neighbours_agree_against_it_stands_apart(room: Room) -> None:
    others = [Talker(station=f"gate-{number}", epoch=f"9f3c0000000000{number:02}") for number in range(2, 6)]
    for one in others:
        room.say(1, one, label="run")
    room.say(1)

    room.judge()

    assert {(one.rule, one.station) for one in room.book.firing()} == {("apart", "gate-1")}
    assert room.firing()["apart"] == "activity is walk, 100% of its neighbours say run"


def test_two_stations_of_a_site_cannot_outvote_each_other(room: Room) -> None:
    room.say(1, Talker(station="gate-2", epoch="9f3c000000000002"), label="run")
    room.say(1)

    assert room.judge() == 0


def test_a_value_far_from_its_neighbours_stands_apart(room: Room) -> None:
    for number, value in enumerate((20.0, 20.3, 19.9, 20.2, 24.0)):
        talker = Talker(station=f"t{number}", epoch=f"9f3c0000000000{number:02}")
        room.say(1, talker, label=UNSET, confidence=UNSET, probabilities=UNSET, set=UNSET, value=value, unit="°C")

    room.judge()

    assert room.firing()["apart"] == "activity is 24 °C, 3.9 from its neighbours' middle"


def noise(number: int) -> float:
    return 9.8 + 0.1 * (number * 7919 % 100) / 100


def test_a_sensor_that_measures_otherwise_than_before_is_told_by_its_windows(room: Room) -> None:
    room.measure(300, noise)
    assert not room.judge()

    room.measure(50, lambda number: 0.2 + noise(number))
    room.judge()

    assert "mean of channel 2 of activity.accelerometer has moved by" in room.firing()["moved"]
    assert "9.85 before, 10" in room.firing()["moved"]


def test_the_same_window_told_again_and_again_is_one_window(room: Room) -> None:
    room.measure(300, noise)

    room.measure(60, lambda number: 99.0, again=True)

    assert not room.judge()
