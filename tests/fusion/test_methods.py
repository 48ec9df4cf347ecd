"""What each fuser is for, on the smallest example that shows it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_sdk.base.errors import ConfigError, TensorMismatchError
from edge_sdk.contract.prediction import ContributorState, Prediction
from edge_sdk.fusion.base import Fused, Fuser
from edge_sdk.fusion.bayes import BayesConfusion
from edge_sdk.fusion.chain import Chain, Conformal, Smoothing, open_fuser
from edge_sdk.fusion.contexts import Context, Contexts
from edge_sdk.fusion.estimates import CovarianceIntersection, Kalman, TrimmedMean
from edge_sdk.fusion.evidence import DempsterShafer
from edge_sdk.fusion.stacking import Layer, Part, Stacking
from edge_sdk.fusion.staged import StagedPool
from edge_sdk.fusion.voting import Vote

S = 1_000_000_000


def classes(*rows: Sequence[float], end_s: int = 1) -> list[Prediction]:
    return [Prediction("abcdefgh"[i], 0, end_s * S, probabilities=np.array(row)) for i, row in enumerate(rows)]


def value(model: str, v: float, std: float | None = 1.0, *, end_s: int = 1) -> Prediction:
    return Prediction(model, 0, end_s * S, value=v, std=std)


def p(fuser: Fuser, predictions: Sequence[Prediction]) -> NDArray[np.float64]:
    fused = fuser.fuse(predictions)
    assert fused is not None
    assert fused.probabilities is not None
    return fused.probabilities


def answer(fuser: Fuser, predictions: Sequence[Prediction]) -> Fused:
    fused = fuser.fuse(predictions)
    assert fused is not None
    return fused


# staged pool


def test_who_says_nobody_does_not_say_how_many() -> None:
    """In the dark the light sensor is sure of nobody; motion and sound know better, and say how many."""
    dark, motion, sound = [0.98, 0.0, 0.0, 0.02], [0.001, 0.199, 0.7, 0.1], [0.01, 0.09, 0.8, 0.1]
    staged = StagedPool(
        StagedPool.Options(groups=((0,), (1, 2, 3)), inner_weights={"a": 10.0, "b": 1.0, "c": 1.0}, temper=0.0)
    )
    assert p(staged, classes(dark, motion, sound)).argmax() == 2


def test_the_leader_of_the_second_question_says_how_many() -> None:
    lit, motion = [0.01, 0.9, 0.05, 0.04], [0.01, 0.09, 0.8, 0.1]
    staged = StagedPool(StagedPool.Options(groups=((0,), (1, 2, 3)), inner_weights={"a": 10.0, "b": 1.0}))
    assert p(staged, classes(lit, motion)).argmax() == 1


three_and_one = st.lists(
    st.lists(st.floats(0.01, 1), min_size=4, max_size=4).map(lambda raw: [one / sum(raw) for one in raw]),
    min_size=1,
    max_size=4,
)


@given(rows=three_and_one)
def test_one_that_knows_nothing_says_nothing_of_whether_there_is_anybody(rows: list[list[float]]) -> None:
    """Of four classes it gives three quarters to the group of three; that is no word for this group."""
    staged = StagedPool(StagedPool.Options(groups=((0,), (1, 2, 3)), temper=0.0))
    assert p(staged, classes(*rows, [0.25] * 4))[0] == pytest.approx(p(staged, classes(*rows))[0])


@given(rows=three_and_one)
def test_who_leans_towards_a_small_group_does_so_in_company_too(rows: list[list[float]]) -> None:
    staged = StagedPool(StagedPool.Options(groups=((0,), (1, 2, 3))))
    together = p(staged, classes(*rows))[0]
    if all(row[0] >= 0.25 for row in rows):
        assert together >= 0.25 - 1e-9
    if all(row[0] <= 0.25 for row in rows):
        assert together <= 0.25 + 1e-9


@pytest.mark.parametrize("groups", [((0,), (0, 1)), ((0,), (2,)), ((0, 1), ())])
def test_groups_that_are_no_partition_are_refused(groups: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ConfigError, match="exactly one group"):
        StagedPool(StagedPool.Options(groups=groups))


def test_groups_for_other_classes_are_refused() -> None:
    with pytest.raises(TensorMismatchError, match="as in groups"):
        StagedPool(StagedPool.Options(groups=((0,), (1,)))).fuse(classes([0.2, 0.3, 0.5]))


# votes


def test_a_majority_outvotes_one_that_is_sure() -> None:
    assert p(Vote(), classes([1.0, 0.0], [0.4, 0.6], [0.4, 0.6])).argmax() == 1


def test_who_has_two_first_choices_splits_its_vote() -> None:
    assert p(Vote(), classes([0.4, 0.4, 0.2], [0.1, 0.8, 0.1])) == pytest.approx([0.25, 0.75, 0.0])


@pytest.mark.parametrize(("tie", "best"), [("soft", 1), ("first", 0)])
def test_a_tie_is_broken_as_it_was_declared(tie: Any, best: int) -> None:
    assert p(Vote(Vote.Options(tie=tie)), classes([0.6, 0.4], [0.1, 0.9])).argmax() == best


def test_a_tie_may_mean_no_answer() -> None:
    assert Vote(Vote.Options(tie="none")).fuse(classes([0.6, 0.4], [0.1, 0.9])) is None


def test_a_weighted_vote_counts_weights() -> None:
    vote = Vote(Vote.Options(kind="weighted", weights={"a": 3.0}))
    assert p(vote, classes([0.6, 0.4], [0.1, 0.9], [0.1, 0.9])) == pytest.approx([0.6, 0.4])


# Bayes, Dempster-Shafer


def test_a_contributor_that_confuses_two_classes_counts_only_elsewhere() -> None:
    blind = ((0.5, 0.5, 0.0), (0.5, 0.5, 0.0), (0.0, 0.0, 1.0))
    bayes = BayesConfusion(BayesConfusion.Options(matrices={"a": blind}, temper=0.0))
    alone = p(bayes, classes([0.9, 0.1, 0.0]))
    assert alone[0] == pytest.approx(alone[1])
    assert p(bayes, classes([0.9, 0.1, 0.0], [0.1, 0.8, 0.1])).argmax() == 1


def test_bayes_multiplies_independent_evidence() -> None:
    bayes = BayesConfusion(BayesConfusion.Options(doubt=1e-9, temper=0.0, prior=(0.5, 0.5)))
    assert p(bayes, classes([0.8, 0.2], [0.8, 0.2])) == pytest.approx([16 / 17, 1 / 17], rel=1e-6)


@pytest.mark.parametrize("matrix", [((0.5, 0.5),), ((0.5, 0.4), (0.5, 0.5)), ((1.0, 0.0), (1.0,))])
def test_a_matrix_that_is_none_is_refused(matrix: Any) -> None:
    with pytest.raises(ConfigError, match="Confusion matrix of 'a'"):
        BayesConfusion(BayesConfusion.Options(matrices={"a": matrix}))


def test_dempsters_rule_gives_what_its_textbook_example_gives() -> None:
    """Two sources, 0.99 and 0.01 on different classes: discounted, the conflict does not crown the third class."""
    fused = p(DempsterShafer(), classes([0.99, 0.01, 0.0], [0.0, 0.01, 0.99]))
    assert fused[1] < 0.1
    assert fused[0] == pytest.approx(fused[2])
    sure = DempsterShafer(DempsterShafer.Options(default_reliability=0.999))
    assert answer(sure, classes([0.99, 0.01, 0.0], [0.0, 0.01, 0.99])).flags == ("conflict",)


# estimates


def test_the_median_withstands_a_fool() -> None:
    fused = answer(TrimmedMean(), [value("a", 10.0), value("b", 11.0), value("c", 1e6)])
    assert fused.value == 11.0


@given(v=st.floats(-10, 10), stds=st.lists(st.floats(0.1, 10), min_size=1, max_size=5))
def test_covariance_intersection_never_claims_more_than_its_best_contributor(v: float, stds: list[float]) -> None:
    fused = answer(CovarianceIntersection(), [value(f"m{i}", v, std) for i, std in enumerate(stds)])
    assert fused.std is not None
    assert fused.std >= min(stds) - 1e-9
    assert fused.value == pytest.approx(v)


def test_the_kalman_filter_counts_each_word_once() -> None:
    kalman = Kalman(Kalman.Options(drift=0.0))
    slow = value("slow", 10.0, end_s=1)
    for t in range(1, 5):
        fused = answer(kalman, [slow, value("fast", 20.0, end_s=t)])
    assert fused.value == pytest.approx((10 + 4 * 20) / 5)
    assert fused.std == pytest.approx(1 / math.sqrt(5))


def test_the_kalman_filter_grows_uncertain_while_time_passes() -> None:
    kalman = Kalman(Kalman.Options(drift=1.0))
    answer(kalman, [value("a", 0.0, end_s=1)])
    later = answer(kalman, [value("a", 10.0, end_s=101)])
    assert later.value == pytest.approx(10.0, abs=0.2)


def test_the_kalman_filter_begins_anew_when_time_is_set_back() -> None:
    kalman = Kalman()
    answer(kalman, [value("a", 5.0, end_s=1000)])
    assert answer(kalman, [value("a", 50.0, end_s=1)]).value == 50.0


def test_the_kalman_filter_leaves_out_what_cannot_be() -> None:
    kalman = Kalman(Kalman.Options(gate=4.0, drift=0.1))
    answer(kalman, [value("a", 5.0, end_s=1)])
    fused = answer(kalman, [value("a", 500.0, end_s=2)])
    assert fused.flags == ("outlier",)
    assert fused.value == pytest.approx(5.0)


# stacking


def stacking(**options: Any) -> Stacking:
    """``a`` and ``b`` averaged when both are there; ``b`` counts for nothing but a deviation that its mask halves."""
    part = {"centre": (0.0,), "scale": (1.0,)}
    return Stacking(
        Stacking.Options(
            parts=(Part(model="a", **part), Part(model="b", **part)),  # type: ignore[arg-type]
            layers=(Layer(weights=((0.5, 0.0), (0.0, 0.0), (0.5, 0.0), (0.0, -math.log(2))), bias=(0.0, math.log(2))),),
            **options,
        )
    )


def test_a_stack_computes_what_it_was_fitted_to() -> None:
    fused = answer(stacking(), [value("a", 4.0), value("b", 8.0)])
    assert (fused.value, fused.std) == (6.0, 1.0)


def test_a_stack_states_the_deviation_for_who_is_missing() -> None:
    gone = Prediction("b", 0, 1, state=ContributorState.ABSENT)
    assert answer(stacking(), [value("a", 4.0), gone]).std == pytest.approx(2.0)


def test_a_stack_takes_a_lone_contributor_at_its_word() -> None:
    gone = Prediction("b", 0, 1, state=ContributorState.ABSENT)
    fused = answer(stacking(lone_word=True), [value("a", 4.0), gone])
    assert fused.value == 4.0
    assert fused.std == pytest.approx(2.0)
    assert answer(stacking(lone_word=True, root=True), [value("a", 9.0), gone]).value == pytest.approx(9.0)
    assert answer(stacking(lone_word=True), [value("a", 4.0), value("b", 8.0)]).value == 6.0


def test_a_stack_of_roots_gives_squares() -> None:
    fused = answer(stacking(root=True), [value("a", 16.0), value("b", 64.0)])
    assert fused.value == pytest.approx(36.0)
    assert fused.std == pytest.approx(math.sqrt(4 * 36 + 2))
    assert answer(stacking(minimum=5.0), [value("a", -4.0), value("b", 0.0)]).value == 5.0


def test_a_stack_refuses_other_outputs_than_it_was_fitted_with() -> None:
    odd = Prediction("a", 0, 1, value=1.0, features=np.ones(2, dtype=np.float32))
    with pytest.raises(TensorMismatchError, match="'a'"):
        stacking().fuse([odd])


# contexts


def test_by_night_other_weights_count() -> None:
    night = Context(name="night", when="hour < 6", options={"weights": {"a": 0.0}})
    fuser = Contexts(Contexts.Options(contexts=(night,), method="weighted_mean", contributors=("a", "b")))
    by_night, by_day = 3600, 12 * 3600
    dark = answer(fuser, classes([1.0, 0.0], [0.2, 0.8], end_s=by_night))
    assert dark.probabilities == pytest.approx([0.2, 0.8])
    assert dark.flags == ("context.night",)
    light = answer(fuser, classes([1.0, 0.0], [0.2, 0.8], end_s=by_day))
    assert light.probabilities == pytest.approx([0.6, 0.4])
    assert light.flags == ()


def test_a_context_may_ask_what_a_contributor_says_and_how_it_is() -> None:
    lost = Context(name="b_lost", when="b.state == 'absent'", options={"weights": {"a": 3.0}})
    fuser = Contexts(Contexts.Options(contexts=(lost,), contributors=("a", "b")))
    assert answer(fuser, classes([0.9, 0.1])).flags == ("context.b_lost",)
    with pytest.raises(ConfigError, match="Did you mean 'absent'"):
        Contexts(Contexts.Options(contexts=(Context(name="x", when="b.state == 'abscent'"),), contributors=("a", "b")))


def test_options_of_a_context_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="wieghts"):
        Contexts(Contexts.Options(contexts=(Context(name="x", when="hour < 6", options={"wieghts": {}}),)))


# the chain


def test_options_that_cannot_be_are_errors_that_name_the_field() -> None:
    with pytest.raises(ConfigError, match=r"'vote'.*kind"):
        open_fuser("vote", {"kind": "loudest"})


def test_a_temperature_softens_before_fusing() -> None:
    chain = Chain("weighted_mean", temperatures={"a": 2.0})
    assert p(chain, classes([0.9, 0.1])) == pytest.approx([0.75, 0.25])


def test_smoothing_holds_on_against_one_odd_moment_and_gives_way_to_many() -> None:
    chain = Chain("weighted_mean", smoothing=Smoothing(dwell_s=600.0, evidence=1.0))
    for t in range(1, 6):
        p(chain, classes([0.9, 0.1], end_s=t))
    assert p(chain, classes([0.2, 0.8], end_s=6)).argmax() == 0
    assert [int(p(chain, classes([0.2, 0.8], end_s=t)).argmax()) for t in range(7, 20)][-1] == 1


def test_smoothing_forgets_over_a_long_gap() -> None:
    chain = Chain("weighted_mean", smoothing=Smoothing(dwell_s=600.0))
    for t in range(1, 6):
        p(chain, classes([0.99, 0.01], end_s=t))
    assert p(chain, classes([0.3, 0.7], end_s=5000)).argmax() == 1


def test_hysteresis_keeps_the_label_until_another_is_clearly_better() -> None:
    chain = Chain("weighted_mean", smoothing=Smoothing(hysteresis=0.5))
    p(chain, classes([0.6, 0.4], end_s=1))
    assert p(chain, classes([0.45, 0.55], end_s=2)).argmax() == 0
    assert p(chain, classes([0.3, 0.7], end_s=3)).argmax() == 1


def test_sets_and_intervals_widen_when_a_contributor_is_missing() -> None:
    sets = Chain("weighted_mean", conformal=Conformal(threshold=0.3, without={"b": 0.05}))
    assert answer(sets, classes([0.6, 0.3, 0.1], [0.6, 0.3, 0.1])).set == (0, 1)
    gone = Prediction("b", 0, 1, state=ContributorState.STALE)
    assert answer(sets, [*classes([0.6, 0.3, 0.1]), gone]).set == (0, 1, 2)
    bands = Chain("weighted_mean", conformal=Conformal(radius=2.0, scaled=True, without={"b": 4.0}))
    assert answer(bands, [value("a", 10.0), value("b", 10.0)]).interval == (8.0, 12.0)
    assert answer(bands, [value("a", 10.0), gone]).interval == (6.0, 14.0)
