"""What every store promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from edge_sdk.base.clock import from_datetime
from edge_sdk.base.errors import StoreError
from edge_sdk.contract.events import InputSummary, StationState
from edge_sdk.contract.receipt import Receipt
from edge_sdk.monitor.store.base import Batch, Committed, Limits, Source, Store
from edge_sdk.monitor.store.place import open_store
from edge_sdk.monitor.store.reader import StoreReader
from edge_sdk.monitor.verify import verify_all
from edge_sdk.mqtt.transport import Message
from tests.monitor.talk import START, Talker

NOW_NS = 1_795_000_000_000_000_000
GATE = Talker()
SOURCE = Source(GATE.site, GATE.station, GATE.epoch)


class House:
    """A store with its writer, which can be closed and opened again, and a reader beside it."""

    def __init__(self, place: Path | str) -> None:
        self.place = place
        self.store = self._open()

    def _open(self) -> Store:
        return open_store(self.place)

    def take(self, *messages: Message, now_ns: int = NOW_NS) -> Committed:
        return self.store.commit(verify_all(messages, max_payload_bytes=1 << 20), now_ns=now_ns)

    def restart(self) -> None:
        self.store.close()
        self.store = self._open()

    def read(self) -> StoreReader:
        return StoreReader(self.place)

    def stored(self) -> list[tuple[str, str, int]]:
        with self.read() as reader:
            return [(one.station, one.epoch, one.seq) for one in reader.results()]


NewHouse = Callable[[], AbstractContextManager[House]]


@pytest.fixture(params=["sqlite", "postgres"])
def new_house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NewHouse:
    """Builds houses; every test that takes one runs on both databases."""

    @contextmanager
    def build() -> Iterator[House]:
        if request.param == "postgres":
            made = House(request.getfixturevalue("new_database")())
        else:
            made = House(tmp_path_factory.mktemp("house") / "monitor.db")
        yield made
        made.store.close()

    return build


@pytest.fixture
def house(new_house: NewHouse) -> Iterator[House]:
    with new_house() as made:
        yield made


def test_what_a_pack_says_will_never_come_is_receipted_and_counted(house: House) -> None:
    committed = house.take(GATE.pack([5, 8, 9], gone=[(2, 4), (6, 7)]))

    assert committed.receipts[SOURCE].stored == ((2, 9),)
    assert [one.seq for one in committed.new[SOURCE]] == [5, 8, 9]
    house.restart()
    again = house.take(GATE.pack([8], gone=[(6, 7)]), GATE.birth(oldest=3))
    assert again.receipts[SOURCE].stored == ((1, 9),)
    with house.read() as reader:
        assert reader.counters().given_up == 6


def listed(house: House) -> list[tuple[str, int, int, int]]:
    with house.read() as reader:
        detail = reader.station("north", "gate-1", now_ns=NOW_NS)
        assert detail is not None
        totals = detail.stored, detail.given_up, detail.missing
        assert totals == (reader.counters().results, reader.counters().given_up, reader.counters().missing)
        return [(one.epoch, one.stored, one.given_up, one.missing) for one in detail.sources]


BOOTS = [Talker(epoch=f"{number:016x}") for number in range(1, 5)]


def test_a_former_epoch_is_settled_when_nothing_of_it_is_missing(house: House) -> None:
    first, second, third, last = BOOTS
    house.take(first.birth(), first.pack(range(1, 31)))
    house.take(second.birth(), second.pack([1, 2, 5], gone=[(3, 4)]))
    house.take(third.birth(), third.pack([1, 4]))
    house.take(last.birth(), last.pack([1, 2]))
    before = listed(house)

    roll_up(house)

    assert [epoch for epoch, *_ in before] == [one.epoch for one in BOOTS]
    assert listed(house) == [(third.epoch, 2, 0, 2), (last.epoch, 2, 0, 0)]
    house.restart()
    assert listed(house) == [(third.epoch, 2, 0, 2), (last.epoch, 2, 0, 0)]
    house.take(third.pack([], gone=[(2, 3)]))
    roll_up(house)
    assert listed(house) == [(last.epoch, 2, 0, 0)]
    with house.read() as reader:
        assert (reader.counters().results, reader.counters().given_up) == (37, 4)
        chart = reader.chart("north", "gate-1", "activity", start_ns=fused_ns(1), end_ns=fused_ns(60), points=1)
    assert sum(one.count for one in chart.buckets) == 37


def test_a_late_pack_of_a_settled_epoch_is_not_stored_twice_even_when_retention_took_its_results(house: House) -> None:
    first, second, *_ = BOOTS
    old = first.pack(range(1, 31))
    house.take(first.birth(), old)
    house.take(second.birth())
    roll_up(house)
    prune(house, Limits(results_days=1, minutes_days=1), now_ns=NOW_NS + 400 * DAY_NS)
    house.restart()

    committed = house.take(old, now_ns=NOW_NS + 400 * DAY_NS)

    assert (committed.duplicates, dict(committed.new)) == (30, {})
    assert committed.receipts[Source("north", "gate-1", first.epoch)].stored == ((1, 30),)
    roll_up(house)
    assert listed(house) == [(second.epoch, 0, 0, 0)]
    with house.read() as reader:
        chart = reader.chart("north", "gate-1", "activity", start_ns=fused_ns(1), end_ns=fused_ns(60), points=1)
    assert sum(one.count for one in chart.buckets) == 30


def test_what_comes_after_all_of_a_settled_epoch_is_stored(house: House) -> None:
    first, second, *_ = BOOTS
    house.take(first.birth(), first.pack(range(1, 11), gone=[(11, 12)]))
    house.take(second.birth())
    roll_up(house)
    assert listed(house) == [(second.epoch, 0, 0, 0)]

    committed = house.take(first.pack([12, 13, 15]))

    assert {one.seq for one in committed.new[Source("north", "gate-1", first.epoch)]} == {12, 13, 15}
    assert listed(house) == [(first.epoch, 13, 1, 1), (second.epoch, 0, 0, 0)]


def test_a_result_is_stored_with_the_very_bytes_of_the_station(house: House) -> None:
    committed = house.take(GATE.result(1))

    with house.read() as reader:
        [one] = reader.results()
    assert bytes(one.body) == GATE.row(1).body
    assert (one.site, one.station, one.epoch, one.seq, one.stored_ns) == (*SOURCE, 1, NOW_NS)
    assert one.result.t_ns == one.t_ns
    assert one.observed_ns == one.t_ns + 12_000_000
    assert [arrival.seq for arrival in committed.new[SOURCE]] == [1]


def test_a_resend_changes_nothing_and_is_counted(house: House) -> None:
    house.take(GATE.result(1), GATE.result(2))

    committed = house.take(GATE.result(2), GATE.pack([1, 2, 3]))

    assert committed.duplicates == 3
    assert [arrival.seq for arrival in committed.new[SOURCE]] == [3]
    assert [seq for _, _, seq in house.stored()] == [1, 2, 3]


def test_the_same_result_twice_in_one_batch_is_stored_once(house: House) -> None:
    committed = house.take(GATE.result(7), GATE.result(7), GATE.pack([7]))

    assert committed.duplicates == 2
    assert len(house.stored()) == 1


def test_another_result_under_a_stored_key_is_a_conflict_that_goes_to_the_quarantine(house: House) -> None:
    house.take(GATE.result(1, label="walk"))

    committed = house.take(GATE.result(1, label="run"))

    assert (committed.conflicts, committed.duplicates) == (1, 0)
    with house.read() as reader:
        assert [one.result.label for one in reader.results()] == ["walk"]
        assert [one.reason for one in reader.quarantine()] == ["conflict"]
        assert reader.counters().conflicts == 1


def test_a_receipt_names_what_is_stored_with_its_gaps(house: House) -> None:
    committed = house.take(GATE.result(1), GATE.result(2), GATE.result(5))

    assert committed.receipts == {SOURCE: Receipt(v=1, epoch=GATE.epoch, stored=((1, 2), (5, 5)))}
    assert committed.current == {SOURCE: True}


def test_receipts_go_on_where_they_were_after_a_restart(house: House) -> None:
    house.take(GATE.pack(range(1, 11)), GATE.result(20))

    house.restart()
    committed = house.take(GATE.result(11))

    assert committed.receipts[SOURCE].stored == ((1, 11), (20, 20))


def test_a_restarted_store_still_refuses_duplicates(house: House) -> None:
    house.take(GATE.pack(range(1, 11)))
    house.restart()

    assert house.take(GATE.pack(range(1, 11))).duplicates == 10


def test_an_outbox_that_the_store_never_heard_of_gets_an_empty_receipt(house: House) -> None:
    committed = house.take(GATE.birth())

    assert committed.receipts == {SOURCE: Receipt(v=1, epoch=GATE.epoch, stored=())}


def test_what_a_station_gave_up_is_counted_and_the_receipt_closes_over_it(house: House) -> None:
    house.take(GATE.birth(), GATE.pack([1, 2, 3]), GATE.pack([10, 11]))

    committed = house.take(GATE.health(oldest=10))

    assert committed.receipts[SOURCE].stored == ((1, 11),)
    with house.read() as reader:
        assert reader.counters().given_up == 6
        assert reader.counters().missing == 0


def test_what_was_given_up_and_comes_after_all_is_stored(house: House) -> None:
    house.take(GATE.birth(oldest=5))

    committed = house.take(GATE.result(3), GATE.result(3))

    assert [arrival.seq for arrival in committed.new[SOURCE]] == [3]
    assert committed.duplicates == 1
    with house.read() as reader:
        assert reader.counters().given_up == 3


def test_health_of_another_outbox_gives_nothing_up(house: House) -> None:
    older = Talker(epoch="9f3c00000000aa00")
    house.take(GATE.birth(), GATE.result(1))

    committed = house.take(older.health(oldest=900))

    assert committed.receipts == {}
    with house.read() as reader:
        assert reader.counters().given_up == 0


def test_only_the_outbox_in_use_gets_a_retained_receipt(house: House) -> None:
    older = Talker(epoch="9f3c00000000aa00")
    house.take(GATE.birth())

    committed = house.take(older.result(4), GATE.result(1))

    assert committed.current[SOURCE] is True
    assert committed.current[Source(older.site, older.station, older.epoch)] is False


def test_the_fleet_shows_what_each_station_said_last(house: House) -> None:
    harbour = Talker(site="harbour", station="pier")
    house.take(GATE.birth(), GATE.status(), GATE.result(1), GATE.result(9, label="sit"), GATE.health(5, backlog=17))
    house.take(harbour.status(StationState.OFFLINE))

    with house.read() as reader:
        pier, gate = reader.fleet(now_ns=NOW_NS + 1).stations
        detail = reader.station("north", "gate-1", now_ns=NOW_NS)
    assert (pier.station, pier.state) == ("pier", "offline")
    assert (gate.state, gate.backlog, gate.backends) == ("online", 17, "litert+xnnpack")
    assert [(one.stream, one.label, one.confidence) for one in gate.streams] == [("activity", "sit", 0.91)]
    assert detail is not None
    assert detail.birth is not None
    assert detail.birth.models[0].delegates == ("xnnpack",)


def test_a_backlog_that_arrives_late_does_not_replace_the_newest_result(house: House) -> None:
    house.take(GATE.result(50, label="run"))
    house.take(GATE.pack(range(1, 20)))

    with house.read() as reader:
        [gate] = reader.fleet(now_ns=NOW_NS).stations
    assert gate.streams[0].label == "run"


def test_a_late_will_of_an_older_process_does_not_put_a_station_offline(house: House) -> None:
    older = Talker(epoch="9f3c00000000aa00")
    house.take(older.birth(), older.status(), GATE.birth(), GATE.status())

    house.take(older.status(StationState.OFFLINE))

    with house.read() as reader:
        assert reader.fleet(now_ns=NOW_NS).stations[0].state == "online"


def test_an_online_station_that_says_nothing_is_silent(house: House) -> None:
    house.take(GATE.status(), GATE.result(1))

    with house.read() as reader:
        assert reader.fleet(now_ns=NOW_NS + 89 * 10**9).stations[0].state == "online"
        assert reader.fleet(now_ns=NOW_NS + 91 * 10**9).stations[0].state == "silent"


def test_a_reader_is_given_only_what_changed(house: House) -> None:
    pier = Talker(site="harbour", station="pier")
    house.take(GATE.result(1), pier.result(1))
    with house.read() as reader:
        rev = reader.fleet(now_ns=NOW_NS).rev
        assert reader.fleet(now_ns=NOW_NS, since_rev=rev).stations == []

        house.take(pier.result(2))

        assert [one.station for one in reader.fleet(now_ns=NOW_NS, since_rev=rev).stations] == ["pier"]


def test_an_event_that_comes_twice_is_kept_once(house: House) -> None:
    house.take(GATE.event("sensor.lost"), GATE.event("sensor.lost"), GATE.event("sensor.found"))

    with house.read() as reader:
        assert sorted(one.name for one in reader.events()) == ["sensor.found", "sensor.lost"]


def test_the_quarantine_is_bounded_and_counts_go_on(house: House) -> None:
    for start in range(0, 1500, 500):
        house.take(*(Message(f"edge/v1/x/s{n}/health", b"{") for n in range(start, start + 500)), now_ns=NOW_NS + start)

    with house.read() as reader:
        kept = reader.quarantine(limit=5000)
        assert reader.counters().quarantined == 1500
    assert len(kept) == 1000
    assert kept[0].topic == "edge/v1/x/s1499/health"


def test_a_chart_has_at_most_the_points_that_were_asked_for(house: House) -> None:
    house.take(GATE.pack(range(1, 601)))
    start_ns = fused_ns(1)

    with house.read() as reader:
        chart = reader.chart(
            "north", "gate-1", "activity", start_ns=start_ns, end_ns=start_ns + 600 * 10**9, points=120, picks=10
        )
    assert len(chart.buckets) == 120
    assert sum(one.count for one in chart.buckets) == 600
    assert len(chart.picks) == 10
    assert {one.label for one in chart.buckets} == {"walk", "run", "sit"}


def test_a_chart_picks_one_result_of_each_stretch_however_often_the_station_was_started(house: House) -> None:
    for number, boot in enumerate(BOOTS):
        house.take(boot.pack(range(1 + 100 * number, 151 + 100 * number)))
    start_ns = fused_ns(1)

    with house.read() as reader:
        picks = reader.picks("north", "gate-1", "activity", start_ns=start_ns, end_ns=start_ns + 450 * 10**9, picks=9)
    assert [one.seq for one in picks] == list(range(50, 451, 50))
    assert [one.epoch for one in picks] == [BOOTS[number].epoch for number in (0, 0, 1, 1, 2, 2, 3, 3, 3)]


def fused_ns(seq: int) -> int:
    [arrivals] = verify_all([GATE.result(seq)], max_payload_bytes=1 << 20).results.values()
    return arrivals[0].t_ns


def test_results_can_be_asked_for_by_time_and_stream(house: House) -> None:
    house.take(GATE.pack(range(1, 31)), GATE.result(31, stream="sound"))

    with house.read() as reader:
        recent = list(reader.results(since_ns=fused_ns(21), until_ns=fused_ns(26)))
        last = list(reader.results(stream="activity", limit=3))
        sound = list(reader.results(stream="sound"))
    assert [one.seq for one in recent] == [21, 22, 23, 24, 25]
    assert [one.seq for one in last] == [28, 29, 30]
    assert [one.seq for one in sound] == [31]


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=st.lists(st.lists(st.integers(1, 40), max_size=12), max_size=6),
    restarts=st.sets(st.integers(0, 5)),
)
def test_whatever_comes_in_whatever_order_is_stored_exactly_once(
    batches: list[list[int]], restarts: set[int], new_house: NewHouse
) -> None:
    with new_house() as house:
        sent: set[int] = set()
        duplicates = total = 0
        for number, seqs in enumerate(batches):
            if number in restarts:
                house.restart()
            committed = house.take(*map(GATE.result, seqs))
            sent |= set(seqs)
            total += len(seqs)
            duplicates += committed.duplicates
            if seqs:
                receipt = committed.receipts[SOURCE]
                assert {seq for seq in range(1, 50) if receipt.holds(seq)} == sent
        assert [seq for _, _, seq in house.stored()] == sorted(sent)
        assert duplicates == total - len(sent)


def test_a_failed_commit_stores_nothing_and_forgets_nothing(house: House) -> None:
    house.take(GATE.result(1))
    good = verify_all([GATE.result(2), GATE.result(3)], max_payload_bytes=1 << 20)
    first = good.results[SOURCE][0]
    bad = Batch(results={SOURCE: [first, replace(first, seq=4, t_ns=1 << 70)]})

    with pytest.raises((OverflowError, StoreError)):
        house.store.commit(bad, now_ns=NOW_NS)
    committed = house.store.commit(good, now_ns=NOW_NS)

    assert committed.duplicates == 0
    assert committed.receipts[SOURCE].stored == ((1, 3),)
    assert [seq for _, _, seq in house.stored()] == [1, 2, 3]


DAY_NS = 86_400 * 10**9


def prune(house: House, limits: Limits, *, now_ns: int) -> int:
    pruned = 0
    while found := house.store.prune(limits, now_ns=now_ns):
        pruned += found
    return pruned


def test_old_results_become_minutes_and_then_hours_and_charts_show_them_still(house: House) -> None:
    house.take(*(GATE.pack(range(low, low + 600)) for low in range(1, 7201, 600)))
    start_ns = fused_ns(1)

    def counted() -> tuple[int, int]:
        with house.read() as reader:
            chart = reader.chart(
                "north", "gate-1", "activity", start_ns=start_ns - DAY_NS, end_ns=start_ns + DAY_NS, points=48
            )
            return sum(one.count for one in chart.buckets), len(chart.picks)

    assert counted()[0] == 7200
    assert prune(house, Limits(results_days=1), now_ns=NOW_NS + DAY_NS - 1) == 0
    assert prune(house, Limits(results_days=1), now_ns=NOW_NS + DAY_NS + 1) == 7200
    assert house.stored() == []
    assert counted() == (7200, 0)
    minutes = prune(house, Limits(minutes_days=1), now_ns=start_ns + 2 * DAY_NS)
    assert 120 * 3 <= minutes <= 122 * 3
    assert counted() == (7200, 0)


def test_a_resend_of_what_retention_deleted_is_a_duplicate_still(house: House) -> None:
    house.take(GATE.pack(range(1, 11)))
    prune(house, Limits(results_days=1), now_ns=NOW_NS + 2 * DAY_NS)
    house.restart()

    committed = house.take(GATE.pack(range(5, 13)))

    assert committed.duplicates == 6
    assert [arrival.seq for arrival in committed.new[SOURCE]] == [11, 12]
    assert committed.receipts[SOURCE].stored == ((1, 12),)


def test_a_minute_that_was_rolled_up_takes_late_results_in(house: House) -> None:
    house.take(GATE.pack(range(1, 5)))
    prune(house, Limits(results_days=1), now_ns=NOW_NS + 2 * DAY_NS)
    house.take(GATE.pack(range(5, 9)), now_ns=NOW_NS + 2 * DAY_NS)
    prune(house, Limits(results_days=1), now_ns=NOW_NS + 4 * DAY_NS)

    with house.read() as reader:
        chart = reader.chart(
            "north", "gate-1", "activity", start_ns=fused_ns(1) - 120 * 10**9, end_ns=fused_ns(60), points=1
        )
    [bucket] = chart.buckets
    assert bucket.count == 8
    assert bucket.share == 0.5
    assert bucket.confidence == pytest.approx(0.91)


def test_what_models_were_given_is_read_stretch_by_stretch_in_order_of_time(house: House) -> None:
    def said(number: int) -> dict[str, InputSummary]:
        at = START + timedelta(seconds=number)
        return {"activity.gyroscope": InputSummary(t=at, mean=(float(number),), spread=(0.5,))}

    house.take(*(GATE.health(10 * number, inputs=said(number)) for number in range(20)), GATE.health(300))
    start_ns = from_datetime(START)

    with house.read() as reader:
        newest_ns = reader.newest_health_ns("north", "gate-1")
        found = reader.inputs("north", "gate-1", start_ns=start_ns, end_ns=start_ns + 200 * 10**9, picks=10)
        assert reader.inputs("north", "nobody", start_ns=0, end_ns=1, picks=3) == []
        assert reader.newest_health_ns("north", "nobody") is None
    assert newest_ns == start_ns + 300 * 10**9
    assert [one["activity.gyroscope"].mean for one in found] == [(float(number),) for number in range(1, 20, 2)]


def test_old_health_and_events_go_and_new_ones_stay(house: House) -> None:
    house.take(GATE.health(0), GATE.health(60), GATE.event("sensor.lost"))

    pruned = prune(house, Limits(health_days=1, events_days=9), now_ns=fused_ns(30) + DAY_NS)

    with house.read() as reader:
        points = reader.backlog("north", "gate-1", start_ns=0, end_ns=2 * NOW_NS)
        assert len(points) == 1
        assert len(reader.events()) == 1
    assert pruned == 1


def counted(house: House, *, days: float, points: int) -> int:
    start_ns = fused_ns(1) - 90 * 10**9
    with house.read() as reader:
        chart = reader.chart(
            "north", "gate-1", "activity", start_ns=start_ns, end_ns=start_ns + round(days * DAY_NS), points=points
        )
        return sum(one.count for one in chart.buckets)


def packs(low: int, high: int) -> list[Message]:
    return [GATE.pack(range(at, min(at + 500, high))) for at in range(low, high, 500)]


def roll_up(house: House) -> int:
    rolled = 0
    while found := house.store.roll_up():
        rolled += found
    return rolled


def test_rolling_up_changes_no_chart_and_deletes_no_result(house: House) -> None:
    house.take(*packs(1, 3001))

    assert roll_up(house) == 3000
    house.take(GATE.pack(range(3001, 3010)))

    assert counted(house, days=1, points=300) == 3009
    assert counted(house, days=0.05, points=300) == 3009
    assert len(house.stored()) == 3009


def test_only_what_lies_below_the_first_gap_is_rolled_up_and_the_rest_follows(house: House) -> None:
    house.take(*packs(1, 1501), *packs(2001, 4001))
    assert roll_up(house) == 1500
    assert counted(house, days=1, points=100) == 3500

    house.take(GATE.pack(range(1501, 2001)))

    assert counted(house, days=1, points=100) == 4000
    assert roll_up(house) == 2500
    assert counted(house, days=1, points=100) == 4000


def test_what_was_given_up_and_rolled_over_and_comes_after_all_is_in_the_chart_once(house: House) -> None:
    house.take(GATE.birth(oldest=101), GATE.pack(range(101, 1301)))
    assert roll_up(house) == 1300

    house.take(GATE.result(50))

    assert counted(house, days=1, points=100) == 1201


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.one_of(st.tuples(st.integers(0, 11), st.integers(1, 4)), st.sampled_from(["roll", "prune", "restart"])),
        min_size=3,
        max_size=12,
    )
)
def test_however_results_come_are_rolled_up_and_pruned_a_chart_counts_each_once(
    steps: list[tuple[int, int] | str], new_house: NewHouse
) -> None:
    with new_house() as house:
        sent: set[int] = set()
        now_ns = NOW_NS
        for step in steps:
            now_ns += DAY_NS
            if step == "roll":
                roll_up(house)
            elif step == "prune":
                prune(house, Limits(results_days=1.5, minutes_days=None), now_ns=now_ns)
            elif step == "restart":
                house.restart()
            elif not isinstance(step, str):
                seqs = range(step[0] * 300 + 1, (step[0] + step[1]) * 300 + 1)
                house.take(GATE.pack(seqs), now_ns=now_ns)
                sent |= set(seqs)
            assert counted(house, days=1, points=200) == len(sent)
