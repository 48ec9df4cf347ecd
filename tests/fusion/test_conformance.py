"""Laws that every registered fuser keeps; a new entry point of ``edge_sdk.fusers`` is tested by being there."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_sdk.base import plugins
from edge_sdk.contract.prediction import ContributorState, Prediction
from edge_sdk.fusion.base import Fused, Fuser
from edge_sdk.fusion.chain import Chain, Conformal, Smoothing

NAMES = ("a", "b", "c", "d")
CLASSES = 3
NOT_FRESH = [state for state in ContributorState if state is not ContributorState.FRESH]

distributions = (
    st.lists(st.floats(0, 1), min_size=CLASSES, max_size=CLASSES)
    .filter(lambda raw: sum(raw) > 0.1)
    .map(lambda raw: np.array(raw) / sum(raw))
)
opinions = st.lists(distributions, min_size=1, max_size=4)
measures = st.lists(st.tuples(st.floats(-100, 100), st.floats(0.1, 10)), min_size=1, max_size=4)


def fuser(name: str, **options: Any) -> Fuser:
    kind = plugins.load("edge_sdk.fusers", name)
    made: Fuser = kind(kind.Options(**options))
    return made


def classes(rows: Sequence[Any]) -> list[Prediction]:
    return [Prediction(name, 0, 1, probabilities=row) for name, row in zip(NAMES, rows, strict=False)]


def values(pairs: Sequence[tuple[float, float]]) -> list[Prediction]:
    return [Prediction(name, 0, 1, value=v, std=s) for name, (v, s) in zip(NAMES, pairs, strict=False)]


def spoilt(prediction: Prediction, state: ContributorState) -> Prediction:
    return Prediction(
        prediction.model, 0, 1, state=state, probabilities=prediction.probabilities, value=prediction.value, std=0.5
    )


def alike(one: Fused | None, other: Fused | None) -> None:
    assert one is not None
    assert other is not None
    if one.probabilities is not None:
        assert other.probabilities is not None
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-9)
    else:
        assert other.value == pytest.approx(one.value)
        assert other.std == pytest.approx(one.std)
    assert other.weights == pytest.approx(one.weights)


ALL = sorted(plugins.found("edge_sdk.fusers"))
TASKS = {name: plugins.load("edge_sdk.fusers", name).tasks for name in ALL}
every_fuser = pytest.mark.parametrize("name", ALL)
every_classifier = pytest.mark.parametrize("name", [name for name in ALL if "classification" in TASKS[name]])
every_estimator = pytest.mark.parametrize("name", [name for name in ALL if "regression" in TASKS[name]])


def anything(name: str, n: int) -> list[Prediction]:
    if "classification" in TASKS[name]:
        return classes([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1], [0.3, 0.4, 0.3]][:n])
    return values([(1.0, 0.5), (2.0, 1.0), (4.0, 0.3)][:n])


@every_classifier
@settings(max_examples=40)
@given(rows=opinions)
def test_probabilities_and_weights_sum_to_one(name: str, rows: list[Any]) -> None:
    fused = fuser(name).fuse(classes(rows))
    assert fused is not None
    assert fused.probabilities is not None
    assert fused.probabilities.shape == (CLASSES,)
    assert fused.probabilities.sum() == pytest.approx(1)
    assert (fused.probabilities >= 0).all()
    assert set(fused.weights) == set(NAMES[: len(rows)])
    assert math.fsum(fused.weights.values()) == pytest.approx(1)


@every_classifier
@settings(max_examples=40)
@given(rows=opinions, order=st.randoms())
def test_the_order_of_contributors_does_not_matter(name: str, rows: list[Any], order: Any) -> None:
    given_ones = classes(rows)
    shuffled = list(given_ones)
    order.shuffle(shuffled)
    alike(fuser(name).fuse(given_ones), fuser(name).fuse(shuffled))


@every_classifier
@settings(max_examples=40)
@given(rows=opinions, other=distributions, state=st.sampled_from(NOT_FRESH))
def test_what_is_not_fresh_counts_for_nothing(name: str, rows: list[Any], other: Any, state: Any) -> None:
    there = classes(rows[:3])
    extra = spoilt(Prediction("d", 0, 1, probabilities=other), state)
    alike(fuser(name).fuse(there), fuser(name).fuse([*there, extra]))


@every_classifier
@settings(max_examples=20)
@given(row=distributions.filter(lambda row: row.min() > 0.01))
def test_one_alone_is_believed_about_its_first_choice(name: str, row: Any) -> None:
    fused = fuser(name).fuse(classes([row]))
    assert fused is not None
    assert fused.probabilities is not None
    assert row[fused.probabilities.argmax()] == row.max()


@every_classifier
@settings(max_examples=40)
@given(rows=opinions)
def test_one_that_knows_nothing_changes_nobody_s_mind(name: str, rows: list[Any]) -> None:
    there = classes(rows[:3])
    before = fuser(name).fuse(there)
    after = fuser(name).fuse([*there, Prediction("d", 0, 1, probabilities=np.full(CLASSES, 1 / CLASSES))])
    assert before is not None
    assert after is not None
    assert before.probabilities is not None
    assert after.probabilities is not None
    assert after.probabilities[before.probabilities.argmax()] >= after.probabilities.max() - 1e-9


@every_classifier
def test_all_of_one_mind_are_believed(name: str) -> None:
    fused = fuser(name).fuse(classes([[0.1, 0.8, 0.1]] * 4))
    assert fused is not None
    assert fused.probabilities is not None
    assert fused.probabilities.argmax() == 1


@every_fuser
def test_too_few_contributors_give_no_answer(name: str) -> None:
    there = anything(name, 3)
    there[0] = spoilt(there[0], ContributorState.FAILED)
    assert fuser(name, min_contributors=3).fuse(there) is None
    assert fuser(name, min_contributors=2).fuse(there) is not None
    assert fuser(name).fuse([]) is None


@every_fuser
def test_options_are_strict(name: str) -> None:
    kind = plugins.load("edge_sdk.fusers", name)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"wieghts": {}}, kind.Options)


@every_fuser
def test_its_name_is_that_of_its_entry_point(name: str) -> None:
    assert fuser(name).name == name


@every_fuser
def test_fusing_twice_gives_the_same(name: str) -> None:
    one, there = fuser(name), anything(name, 2)
    alike(one.fuse(there), one.fuse(there))


@every_estimator
@settings(max_examples=40)
@given(pairs=measures, order=st.randoms(), state=st.sampled_from(NOT_FRESH))
def test_estimates_keep_the_same_laws(name: str, pairs: list[tuple[float, float]], order: Any, state: Any) -> None:
    there = values(pairs[:3])
    shuffled = list(there)
    order.shuffle(shuffled)
    fused = fuser(name).fuse(there)
    alike(fused, fuser(name).fuse([spoilt(Prediction("d", 0, 1, value=1e6), state), *shuffled]))
    assert fused is not None
    assert fused.value is not None
    assert fused.std is not None
    assert min(v for v, _ in pairs[:3]) - 1e-6 <= fused.value <= max(v for v, _ in pairs[:3]) + 1e-6
    assert fused.std > 0
    assert math.fsum(fused.weights.values()) == pytest.approx(1)


@every_fuser
def test_nothing_grows_however_long_it_fuses(name: str) -> None:
    chain = Chain(
        name,
        temperatures=dict.fromkeys(NAMES, 1.5),
        smoothing=Smoothing(dwell_s=60, hysteresis=0.1),
        conformal=Conformal(threshold=0.2, radius=1.0),
    )
    there = anything(name, 3)

    def live(begin: int, moments: int) -> int:
        for t in range(begin, begin + moments):
            silent = [one for place, one in enumerate(there) if not t >> place & 1]
            chain.fuse(
                [
                    Prediction(
                        one.model,
                        t,
                        t + 1,
                        state=ContributorState.ABSENT if one in silent else ContributorState.FRESH,
                        probabilities=one.probabilities,
                        value=one.value,
                        std=one.std,
                    )
                    for one in there
                ]
            )
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        live(1, 32)
        before = live(33, 32)
        after = live(65, 200)
    finally:
        tracemalloc.stop()
    assert after - before < 12_000
