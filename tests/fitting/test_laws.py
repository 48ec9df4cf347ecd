"""Laws that every method keeps when it was fitted, too: order, states, sums."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_sdk.contract.prediction import ContributorState, Prediction
from edge_sdk.fitting.fit import fitted, methods_for
from edge_sdk.fitting.record import Record
from edge_sdk.fitting.score import run
from edge_sdk.fusion.base import Fused
from edge_sdk.fusion.chain import Chain
from tests.fitting.records import classes, estimates

CONTEXTS = {"late": "hour >= 0"}
RECORDS: dict[str, Record] = {"classes": classes(120), "estimates": estimates(120)}
EVERY = [
    pytest.param(task, method.title, id=f"{task}: {method.title}")
    for task, record in RECORDS.items()
    for method in methods_for(record, contexts=CONTEXTS)
]
NOT_FRESH = [state for state in ContributorState if state is not ContributorState.FRESH]


@functools.cache
def fused_by(task: str, title: str) -> Any:
    record = RECORDS[task]
    [method] = [one for one in methods_for(record, contexts=CONTEXTS) if one.title == title]
    return fitted(method, record)


def ask(task: str, title: str, predictions: list[Prediction]) -> Fused:
    chain: Chain = fused_by(task, title).open()
    fused = chain.fuse(predictions)
    assert fused is not None
    return fused


def alike(one: Fused, other: Fused) -> None:
    if one.probabilities is not None:
        assert other.probabilities is not None
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-9)
        assert one.set == other.set
    else:
        assert other.value == pytest.approx(one.value)
        assert other.interval == pytest.approx(one.interval)
    assert other.weights == pytest.approx(one.weights)


@pytest.mark.parametrize(("task", "title"), EVERY)
@settings(max_examples=15)
@given(at=st.integers(0, 119), order=st.randoms(), state=st.sampled_from(NOT_FRESH), out=st.integers(0, 1))
def test_order_changes_nothing_who_is_not_fresh_says_nothing_and_shares_are_whole(
    task: str, title: str, at: int, order: Any, state: ContributorState, out: int
) -> None:
    there = list(RECORDS[task].moments())[at]
    fused = ask(task, title, there)
    shuffled = list(there)
    order.shuffle(shuffled)
    alike(fused, ask(task, title, shuffled))

    assert math.fsum(fused.weights.values()) == pytest.approx(1)
    if fused.probabilities is not None:
        assert fused.probabilities.sum() == pytest.approx(1)
        assert (fused.probabilities >= 0).all()

    gone = there[out]
    silent = Prediction(gone.model, gone.start_ns, gone.end_ns, state=state)
    aloud = Prediction(
        gone.model,
        gone.start_ns,
        gone.end_ns,
        state=state,
        probabilities=gone.probabilities,
        value=gone.value,
        std=gone.std,
    )
    without = ask(task, title, [*there[:out], silent, *there[out + 1 :]])
    alike(without, ask(task, title, [*there[:out], aloud, *there[out + 1 :]]))
    assert not without.weights.get(gone.model)


@pytest.mark.parametrize(
    "title", [method.title for method in methods_for(RECORDS["classes"], contexts=CONTEXTS) if not method.learned]
)
@pytest.mark.parametrize("name", RECORDS["classes"].models)
def test_one_that_knows_nothing_changes_no_answer_more_than_one_that_is_absent(title: str, name: str) -> None:
    record = RECORDS["classes"]
    silent = replace(record.opinions[name], probabilities=np.full((len(record), 3), 1 / 3))
    knows_nothing = replace(record, opinions={**record.opinions, name: silent})

    def labels(given: Record) -> list[int]:
        fused = run(fused_by("classes", title).open(), given)
        return [-1 if one is None or one.probabilities is None else int(one.probabilities.argmax()) for one in fused]

    assert labels(knows_nothing) == labels(record.without([name]))
