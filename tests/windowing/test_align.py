from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_sdk.base.errors import ConfigError
from edge_sdk.contract.prediction import ContributorState, Prediction
from edge_sdk.windowing.align import Aligner, Moment
from tests.windowing import oracle

NAMES = ("a", "b", "c")


def says(model: str, end: int, state: ContributorState = ContributorState.FRESH) -> Prediction:
    return Prediction(model, end - 1, end, state=state, probabilities=np.array([0.25, 0.75]))


def aligner(
    policy: Any = "on_all", *, max_age: Any = 0, lateness: int = 0, tick: int | None = None, tolerance: int = 0
) -> Aligner:
    base = "a" if policy == "basepad" else None
    return Aligner(
        NAMES,
        policy=policy,
        max_age_ns=max_age,
        lateness_ns=lateness,
        tick_ns=tick,
        base=base,
        tolerance_ns=tolerance,
    )


def told(moments: list[Moment]) -> list[tuple[int, tuple[str, ...]]]:
    return [(moment.t_ns, tuple(one.state.value for one in moment.predictions)) for moment in moments]


@given(
    ends=st.fixed_dictionaries({name: st.sets(st.integers(1, 25), max_size=15).map(sorted) for name in NAMES}),
    order=st.randoms(),
    max_age=st.integers(0, 4),
)
@settings(max_examples=200)
def test_on_all_gives_what_the_oracle_says_however_contributors_interleave(
    ends: dict[str, list[int]], order: Any, max_age: int
) -> None:
    queues = {name: list(each) for name, each in ends.items()}
    one, made = aligner(max_age=max_age), []
    while any(queues.values()):
        name = order.choice([name for name, queue in queues.items() if queue])
        made += one.push(says(name, queues[name].pop(0)))

    made += one.flush()

    assert told(made) == oracle.moments(NAMES, ends, max_age)
    assert one.counters == {}


def interleaved(ends: dict[str, list[int]], order: Any) -> list[Prediction]:
    """Words of each in order, those of several in any."""
    queues, told_in = {name: list(each) for name, each in ends.items()}, []
    while any(queues.values()):
        name = order.choice([name for name, queue in queues.items() if queue])
        told_in.append(says(name, queues[name].pop(0)))
    return told_in


some_ends = st.fixed_dictionaries({name: st.sets(st.integers(1, 25), max_size=15).map(sorted) for name in NAMES})


@given(ends=some_ends, order=st.randoms(), max_age=st.integers(0, 4), tolerance=st.integers(0, 4))
@settings(max_examples=200)
def test_basepad_gives_what_the_oracle_says_however_contributors_interleave(
    ends: dict[str, list[int]], order: Any, max_age: int, tolerance: int
) -> None:
    one = aligner("basepad", max_age=max_age, tolerance=tolerance)

    made = [moment for word in interleaved(ends, order) for moment in one.push(word)] + one.flush()

    said = [(m.t_ns, tuple((p.state.value, p.end_ns) for p in m.predictions)) for m in made]
    assert said == oracle.based(NAMES, ends, "a", tolerance, max_age)
    assert one.counters == {}


@given(ends=some_ends, order=st.randoms(), max_age=st.integers(0, 4), tick=st.integers(1, 7))
@settings(max_examples=200)
def test_ticks_are_what_the_oracle_says_however_contributors_interleave(
    ends: dict[str, list[int]], order: Any, max_age: int, tick: int
) -> None:
    one = aligner("tick", max_age=max_age, tick=tick)
    words = interleaved(ends, order)

    made = [moment for word in words for moment in one.push(word)] + one.flush()

    if one.counters:  # the first word of all stood behind that of another: ticks before it were never begun
        assert set(one.counters) == {"predictions.late"}
        return
    begun = (words[0].end_ns - 1) // tick * tick if words else 0
    last = max((end for each in ends.values() for end in each), default=0)
    ticks = range(begun + tick, -(-last // tick) * tick + 1, tick)
    assert told(made) == [oracle.latest(NAMES, ends, t, max_age) for t in ticks]


@given(words=st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 3)), max_size=40), max_age=st.integers(0, 4))
@settings(max_examples=200)
def test_on_any_gives_a_moment_for_each_word_that_is_not_late_and_late_words_serve_the_next(
    words: list[tuple[str, int]], max_age: int
) -> None:
    one, heard, given_to = aligner("on_any", max_age=max_age), {name: [0] for name in NAMES}, 0
    for name, step in words:
        end = max(heard[name][-1] + 1, given_to - 2 + step)
        moments = one.push(says(name, end))
        heard[name].append(end)
        if end < given_to:
            assert moments == []
            continue
        given_to = end
        known = {each: ends[1:] for each, ends in heard.items()}
        assert told(moments) == [oracle.latest(NAMES, known, end, max_age)]


def test_a_sensor_that_is_always_a_little_late_still_counts() -> None:
    one = aligner("on_any", max_age=15)
    one.push(says("a", 10))
    assert one.push(says("b", 8)) == []
    assert told(one.push(says("a", 20))) == [(20, ("fresh", "fresh", "absent"))]
    assert one.counters == {"predictions.late": 1}


@given(
    pushes=st.lists(st.tuples(st.sampled_from(NAMES), st.integers(1, 60)), max_size=60),
    policy=st.sampled_from(["on_all", "tick", "basepad"]),
    nows=st.lists(st.integers(0, 80), max_size=10),
)
@settings(max_examples=100)
def test_moments_come_in_order_of_time_until_time_is_set_back(
    pushes: list[tuple[str, int]], policy: str, nows: list[int]
) -> None:
    one, last = aligner(policy, max_age=5, lateness=3, tick=5 if policy == "tick" else None), -1
    for index, (name, end) in enumerate(pushes):
        steps = one.counters.get("clock.steps", 0)
        moments = one.push(says(name, end))
        if one.counters.get("clock.steps", 0) > steps:  # these end the old time and may begin the new one
            last = -1
            continue
        if index < len(nows):
            moments += one.advance(nows[index])
        for moment in moments:
            assert [prediction.model for prediction in moment.predictions] == list(NAMES)
            assert moment.t_ns > last
            last = moment.t_ns


def test_on_all_gives_a_moment_as_soon_as_all_have_delivered_whatever_they_say() -> None:
    one = aligner()
    assert one.push(says("b", 10, ContributorState.REJECTED)) == []
    assert one.push(says("a", 10)) == []
    assert told(one.push(says("c", 10, ContributorState.FAILED))) == [(10, ("fresh", "rejected", "failed"))]


def test_on_all_waits_for_the_lateness_and_no_longer() -> None:
    one = aligner(lateness=5)
    one.push(says("a", 10))
    assert one.advance(14) == []
    assert told(one.advance(15)) == [(10, ("fresh", "absent", "absent"))]


def test_on_all_carries_the_old_word_of_a_missing_contributor_as_stale() -> None:
    one = aligner(max_age={"b": 10})
    for name in NAMES:
        one.push(says(name, 10))
    one.push(says("a", 20))
    [moment] = one.advance(20)
    assert told([moment]) == [(20, ("fresh", "stale", "absent"))]
    assert moment.predictions[1].end_ns == 10
    assert moment.predictions[1].probabilities is not None
    one.push(says("a", 21))
    assert told(one.advance(21)) == [(21, ("fresh", "absent", "absent"))]


def test_a_late_prediction_is_counted_and_changes_nothing() -> None:
    one = aligner()
    one.push(says("a", 10))
    one.advance(10)
    assert one.push(says("b", 10)) == []
    assert one.counters == {"predictions.late": 1}


def test_a_contributor_that_catches_up_after_a_gap_is_late_and_no_moment_is_given_twice() -> None:
    one = aligner(lateness=2)
    for name in NAMES:
        one.push(says(name, 10))
    made = [moment for end in range(11, 31) for moment in one.push(says("a", end))] + one.advance(30)
    made += [moment for end in range(11, 31) for name in "bc" for moment in one.push(says(name, end))] + one.flush()

    assert [moment.t_ns for moment in made] == list(range(11, 31))
    assert one.counters["predictions.late"] == 36
    assert "clock.steps" not in one.counters


def test_time_that_was_set_back_is_believed_in_the_end() -> None:
    one = aligner()
    for name in NAMES:
        one.push(says(name, 1_000_000))
    made = [moment for end in range(10, 15) for name in NAMES for moment in one.push(says(name, end))]
    assert told(made)[-1] == (14, ("fresh",) * 3)
    assert one.counters["clock.steps"] == 1


def test_on_any_gives_a_moment_for_each_prediction_with_the_latest_of_the_others() -> None:
    one = aligner("on_any", max_age={"a": 5, "b": 1})
    assert told(one.push(says("a", 10))) == [(10, ("fresh", "absent", "absent"))]
    assert told(one.push(says("b", 12))) == [(12, ("fresh", "fresh", "absent"))]
    assert told(one.push(says("c", 15))) == [(15, ("fresh", "stale", "fresh"))]
    assert told(one.push(says("c", 16))) == [(16, ("stale", "stale", "fresh"))]


def test_ticks_are_given_at_multiples_of_the_tick() -> None:
    one = aligner("tick", max_age=6, lateness=2, tick=10)
    assert one.push(says("a", 13)) == []
    one.push(says("b", 19))
    assert told(one.advance(22)) == [(20, ("stale", "fresh", "absent"))]
    for name in NAMES[:2]:
        assert one.push(says(name, 31)) == []
    assert told(one.push(says("c", 30))) == [(30, ("stale", "stale", "fresh"))]
    assert told(one.flush()) == [(40, ("stale", "stale", "stale"))]


def test_a_time_far_ahead_does_not_make_endless_ticks() -> None:
    one = aligner("tick", tick=1)
    one.push(says("a", 1))
    assert len(one.advance(10**18)) == 4096
    assert one.counters["ticks.skipped"] > 10**17


def test_a_contributor_that_never_comes_does_not_fill_the_memory() -> None:
    one = aligner()
    moments = [moment for end in range(10_000) for moment in one.push(says("a", end))]
    assert len(moments) == 10_000 - 4096
    assert one.counters == {"moments.forced": 10_000 - 4096}


@pytest.mark.parametrize(
    "arguments",
    [
        {"policy": "on_al"},
        {"policy": "tick"},
        {"policy": "on_all", "tick": 5},
        {"policy": "on_all", "max_age": {"d": 1}},
        {"policy": "basepad", "tolerance": -1},
    ],
)
def test_contradictory_arguments_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        aligner(**arguments)


def test_a_prediction_of_a_stranger_is_refused() -> None:
    with pytest.raises(ConfigError, match="no contributor"):
        aligner().push(says("d", 1))
