from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_sdk.base.errors import ConfigError, TensorMismatchError
from edge_sdk.contract.prediction import Prediction
from edge_sdk.fusion.base import Fused
from edge_sdk.fusion.pools import LogOpinionPool, WeightedMean, log_opinion_pool


def classes(**rows: list[float]) -> list[Prediction]:
    return [Prediction(name, 0, 1, probabilities=np.array(row)) for name, row in rows.items()]


def values(**pairs: tuple[float, float | None]) -> list[Prediction]:
    return [Prediction(name, 0, 1, value=v, std=s) for name, (v, s) in pairs.items()]


def probabilities(fused: Fused | None) -> NDArray[np.float64]:
    assert fused is not None
    assert fused.probabilities is not None
    return fused.probabilities


def answer(fused: Fused | None) -> Fused:
    assert fused is not None
    return fused


def test_with_all_the_weight_on_one_the_pool_says_what_that_one_says() -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    np.testing.assert_allclose(log_opinion_pool(p, np.array([1.0, 0.0])), p[0])


@given(st.integers(1, 6))
def test_a_uniform_contributor_is_neutral_in_the_full_product(n: int) -> None:
    p = np.vstack([[0.7, 0.2, 0.1], np.full((n, 3), 1 / 3)])
    np.testing.assert_allclose(log_opinion_pool(p, np.ones(n + 1)), p[0])


def test_without_temper_independent_evidence_adds_up_as_bayes_says() -> None:
    pool = LogOpinionPool(LogOpinionPool.Options(temper=0.0))
    assert probabilities(pool.fuse(classes(a=[0.8, 0.2], b=[0.8, 0.2]))) == pytest.approx([16 / 17, 1 / 17])


def test_tempered_the_same_word_said_twice_is_no_more_certain() -> None:
    assert probabilities(LogOpinionPool().fuse(classes(a=[0.8, 0.2], b=[0.8, 0.2]))) == pytest.approx([0.8, 0.2])


def test_one_confident_zero_does_not_veto() -> None:
    fused = answer(LogOpinionPool().fuse(classes(a=[0.0, 1.0], b=[0.99, 0.01], c=[0.99, 0.01], d=[0.99, 0.01])))
    assert fused.probabilities is not None
    assert fused.probabilities[0] > 0.5


def test_weights_are_renormalised_over_who_is_there() -> None:
    pool = WeightedMean(WeightedMean.Options(weights={"a": 3.0, "b": 1.0}))
    assert answer(pool.fuse(classes(a=[1.0, 0.0], b=[0.0, 1.0]))).weights == {"a": 0.75, "b": 0.25}
    assert answer(pool.fuse(classes(b=[0.0, 1.0]))).weights == {"b": 1.0}


def test_contributors_that_weigh_nothing_give_no_answer() -> None:
    assert WeightedMean(WeightedMean.Options(weights={"a": 0.0})).fuse(classes(a=[1.0, 0.0])) is None


def test_gaussians_are_pooled_by_inverse_variance() -> None:
    pool = LogOpinionPool(LogOpinionPool.Options(temper=0.0))
    fused = answer(pool.fuse(values(a=(10.0, 1.0), b=(20.0, 2.0))))
    assert fused.value == pytest.approx(12.0)
    assert fused.std == pytest.approx(math.sqrt(1 / (1 + 1 / 4)))
    assert fused.weights == pytest.approx({"a": 0.8, "b": 0.2})


def test_tempered_gaussians_do_not_claim_more_than_the_best_of_them() -> None:
    assert answer(LogOpinionPool().fuse(values(a=(10.0, 1.0), b=(10.0, 1.0)))).std == pytest.approx(1.0)


def test_a_mixture_grows_wider_where_contributors_disagree() -> None:
    assert answer(WeightedMean().fuse(values(a=(0.0, 1.0), b=(10.0, 1.0)))).std == pytest.approx(math.sqrt(26))


@pytest.mark.parametrize("kind", [LogOpinionPool, WeightedMean])
def test_estimates_without_deviation_are_averaged_by_weight(kind: type[LogOpinionPool] | type[WeightedMean]) -> None:
    fused = answer(kind().fuse(values(a=(10.0, None), b=(20.0, 1.0))))
    assert fused.value == pytest.approx(15.0)
    assert fused.std is None


@pytest.mark.parametrize("kind", [LogOpinionPool, WeightedMean])
def test_contributors_with_other_classes_are_refused(kind: type[LogOpinionPool] | type[WeightedMean]) -> None:
    with pytest.raises(TensorMismatchError, match="'b': 3"):
        kind().fuse(classes(a=[0.5, 0.5], b=[0.2, 0.3, 0.5]))
    with pytest.raises(TensorMismatchError):
        kind().fuse([*classes(a=[0.5, 0.5]), *values(b=(1.0, 1.0))])
    with pytest.raises(TensorMismatchError):
        kind().fuse([*values(b=(1.0, 1.0)), *classes(a=[0.5, 0.5])])


def test_impossible_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="Weight of 'a'"):
        WeightedMean(WeightedMean.Options(weights={"a": -1.0}))
    with pytest.raises(ConfigError, match="floor"):
        LogOpinionPool(LogOpinionPool.Options(floor=0.0))
