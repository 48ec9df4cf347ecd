from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_sdk.base.errors import CalibrationError
from edge_sdk.fitting import learn
from edge_sdk.fitting.fit import cross_validated, fit, fitted, left_out, tried
from edge_sdk.fitting.methods import classifiers, estimators, first_against_rest
from edge_sdk.fitting.network import Training, hidden_some
from edge_sdk.fitting.record import Opinion, Record
from edge_sdk.fitting.score import run, score
from edge_sdk.fitting.stack import stack
from tests.fitting.records import classes, estimates


def test_skills_tell_who_is_good_at_which_question() -> None:
    outer, inner = learn.skills(classes(), first_against_rest(3))
    assert max(outer, key=outer.__getitem__) == "presence"
    assert max(inner, key=inner.__getitem__) == "count"
    assert outer["coin"] < 0.2


def test_a_temperature_undoes_overconfidence_and_never_sharpens() -> None:
    assert learn.temperature(classes(sharpen=4.0), "presence") > 1.5
    assert learn.temperature(classes(sharpen=0.3), "presence") == pytest.approx(1.0, abs=0.05)


def test_confusion_matrices_are_matrices_of_probabilities() -> None:
    matrix = learn.confusion(classes(), "presence", 1.0)
    assert matrix.sum(axis=1) == pytest.approx([1, 1, 1])
    assert matrix[0, 0] > 0.7
    assert matrix[1, 1] == pytest.approx(matrix[1, 2], abs=0.05)


def test_the_staged_pool_is_found_where_contributors_answer_different_questions() -> None:
    found = fit(classes(360), method="auto")
    by_title = {row.title: row.score for row in found.table}
    assert found.chosen in {row.title for row in found.table[:3]}
    best_alone = max(by_title[f"{name} alone"].accuracy or 0 for name in ("presence", "count", "coin"))
    assert (by_title[found.chosen].accuracy or 0) > best_alone + 0.1
    assert found.spec.contributors == {"presence": "", "count": "", "coin": ""}
    assert found.spec.provenance["method"] == found.chosen


@pytest.mark.parametrize("method", classifiers(first_against_rest(3)), ids=lambda method: method.title)
def test_every_method_fits_and_states_its_coverage(method: object) -> None:
    answers, tested = cross_validated(method, classes(), coverage=0.9)  # type: ignore[arg-type]
    given = score(answers, tested)
    assert given.answered == 1.0
    assert given.coverage is not None
    assert given.coverage > 0.85


@pytest.mark.parametrize("method", estimators(), ids=lambda method: method.title)
def test_every_estimator_fits_and_its_intervals_cover(method: object) -> None:
    answers, tested = cross_validated(method, estimates(), coverage=0.9)  # type: ignore[arg-type]
    given = score(answers, tested)
    assert given.coverage == pytest.approx(0.9, abs=0.04)
    assert given.mae is not None
    assert given.mae < 6.5


def test_precision_weighting_beats_the_better_contributor() -> None:
    found = fit(estimates())
    by_title = {row.title: row.score.mae or 9.9 for row in found.table}
    assert by_title["inverse variance"] < by_title["good alone"] < by_title["poor alone"]


def test_a_stack_works_with_either_contributor_missing() -> None:
    record = estimates(1800)
    spec = fitted(stack(Training(hidden=(8,))), record)
    whole = score(run(spec.open(), record), record)
    without = score(run(spec.open(), record.without(["good"])), record)
    assert whole.mae is not None
    assert without.mae is not None
    assert whole.mae < 4.0
    assert without.mae < 7.5
    assert without.coverage == pytest.approx(0.9, abs=0.04)


def test_a_stack_learns_who_answers_which_question_and_meets_absence() -> None:
    record = classes(1500)
    train, test = record.take(np.arange(1000)), record.take(np.arange(1000, 1500))
    fuser = fitted(stack(Training(hidden=())), train, coverage=None).open()
    whole = score(run(fuser, test), test)
    alone = score(run(fuser, test.only("presence")), test)
    assert (whole.accuracy or 0) > 0.82
    assert (alone.accuracy or 0) > 0.55


def test_a_method_that_never_answers_states_no_interval() -> None:
    record = estimates(300)
    silent = {name: replace(one, stds=None) for name, one in record.opinions.items()}
    method = next(one for one in estimators() if one.fuser == "covariance_intersection")
    spec = fitted(method, replace(record, opinions=silent))
    assert spec.conformal is not None
    assert spec.conformal.radius is None


def test_a_label_that_training_never_saw_is_not_given() -> None:
    record = classes(300)
    seen = record.take(record.truth != 2)
    fuser = fitted(stack(), seen, coverage=None).open()
    assert all(fused is not None and fused.probabilities[2] < 0.01 for fused in run(fuser, seen))  # type: ignore[index]


def test_a_stack_of_roots_states_wider_intervals_where_values_are_high() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 15, 2000) ** 2
    fresh = np.ones(2000, dtype=np.bool_)
    said = {name: Opinion(fresh, values=truth + rng.normal(0, 1, 2000) * np.sqrt(truth)) for name in "ab"}
    record = Record(said, truth, np.arange(2000), np.array([f"g{i % 4}" for i in range(2000)]), unit="m")
    spec = fitted(stack(Training(hidden=(8,)), root=True), record)
    answers = run(spec.open(), record)
    low, high = (
        [one.std for one, t in zip(answers, truth, strict=True) if one and a < t < b] for a, b in ((0, 9), (150, 200))
    )
    assert np.mean(high) > 2 * np.mean(low)  # type: ignore[arg-type]
    assert score(answers, record).coverage == pytest.approx(0.9, abs=0.03)


def test_the_choice_falls_on_a_method_that_does_not_hang_on_one_contributor() -> None:
    """One contributor is nearly always right, four are fair: alone it shines, and takes all down when it is astray."""
    rng = np.random.default_rng(1)
    n = 400
    truth = rng.integers(0, 2, n)

    def says(right: float) -> Opinion:
        said = np.where(rng.random(n) < right, truth, 1 - truth)
        return Opinion(np.ones(n, dtype=np.bool_), probabilities=np.where(np.eye(2)[said] > 0, 0.97, 0.03))

    opinions = {"star": says(0.99), **{f"fair{i}": says(0.9) for i in range(4)}}
    record = Record(opinions, truth, np.arange(n), np.array([f"g{i % 4}" for i in range(n)]), labels=("no", "yes"))
    method = next(one for one in classifiers(((0,), (1,))) if one.title == "log-opinion pool, equal")
    pooled = tried(method.title, left_out(method, record), 0.9)
    assert pooled.astray is not None
    assert pooled.astray > 0.9
    assert pooled.absent is not None
    assert pooled.score.accuracy is not None
    assert pooled.astray < pooled.absent <= pooled.score.accuracy


def test_what_is_learned_jointly_must_be_clearly_better() -> None:
    """Two independent contributors of one worth: nothing is to be learned that a plain mean does not know."""
    rng = np.random.default_rng(3)
    truth = rng.normal(50, 20, 1500)
    fresh = np.ones(1500, dtype=np.bool_)
    said = {name: Opinion(fresh, values=truth + rng.normal(0, 4, 1500)) for name in "ab"}
    record = Record(said, truth, np.arange(1500), np.array([f"g{i % 3}" for i in range(1500)]), unit="m")
    assert not fit(record).chosen.startswith("stack")
    bent = {name: replace(one, values=np.abs(said[name].values - 50.0)) for name, one in said.items()}  # type: ignore[operator]
    assert fit(replace(record, opinions=bent, truth=(truth - 50) ** 2 / 20)).chosen.startswith("stack")


def test_weights_are_learned_for_each_context() -> None:
    rng = np.random.default_rng(0)
    n = 2400
    truth = rng.integers(0, 2, n)
    night = np.arange(n) % 24 < 6
    eye = np.where(rng.random(n) < np.where(night, 0.5, 0.98), truth, 1 - truth)
    ear = np.where(rng.random(n) < 0.8, truth, 1 - truth)
    opinions = {
        name: Opinion(np.ones(n, dtype=np.bool_), probabilities=np.where(np.eye(2)[said] > 0, 0.9, 0.1))
        for name, said in (("eye", eye), ("ear", ear))
    }
    days = np.array([f"d{i // 600}" for i in range(n)])
    record = Record(opinions, truth, np.arange(n) * 3_600_000_000_000, days, labels=("no", "yes"))
    methods = {one.title: one for one in classifiers(((0,), (1,)), {"night": "hour < 6"})}
    plain, by_context = (
        score(*cross_validated(methods[title], record)).accuracy or 0
        for title in ("log-opinion pool, by skill", "log-opinion pool, by skill and context")
    )
    assert by_context > plain + 0.03
    weights = fitted(methods["log-opinion pool, by skill and context"], record, coverage=None).options
    assert weights["options"]["weights"]["eye"] > weights["options"]["weights"]["ear"]
    assert weights["contexts"][0]["options"]["weights"]["eye"] < weights["contexts"][0]["options"]["weights"]["ear"]


def test_one_group_alone_cannot_be_split() -> None:
    with pytest.raises(CalibrationError, match="at least two"):
        fit(classes(60).take(np.arange(60) < 10))


def test_an_unknown_method_is_refused_with_what_there_is() -> None:
    with pytest.raises(CalibrationError, match="Did you mean 'vote'"):
        fit(classes(60), method="votes")


def test_no_row_is_hidden_whole() -> None:
    rng = np.random.default_rng(0)
    masks = rng.random((500, 3)) < 0.6
    masks |= ~masks.any(axis=1, keepdims=True)
    x = np.repeat(masks, 2, axis=1).astype(np.float64)
    hidden = hidden_some(x, [2, 2, 2], 1.0, rng)
    assert hidden.any(axis=1).all()
    assert hidden.sum() < x.sum()
    np.testing.assert_array_equal(hidden_some(x, [2, 2, 2], 0.0, rng), x)
