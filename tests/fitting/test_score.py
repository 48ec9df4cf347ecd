from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_sdk.fitting.evaluate import cell
from edge_sdk.fitting.score import macro_f1, run, score
from edge_sdk.fusion.base import Fused
from edge_sdk.fusion.chain import Chain
from tests.fitting.records import classes, estimates


def test_macro_f1_is_that_of_the_textbook() -> None:
    truth, said = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, -1])
    assert macro_f1(truth, said) == pytest.approx((2 / 3 + 4 / 5 + 0) / 3)


def test_figures_of_classes_are_those_of_plain_arithmetic() -> None:
    record = classes(200)
    answers = run(Chain("weighted_mean"), record)
    given = score(answers, record)
    said = np.array([one.probabilities for one in answers if one is not None])
    right = said.argmax(axis=1) == record.truth
    assert given.accuracy == pytest.approx(right.mean())
    assert given.macro_f1 == pytest.approx(macro_f1(np.asarray(record.truth, np.int64), said.argmax(axis=1)))
    assert given.log_loss == pytest.approx(-np.log(said[np.arange(200), record.truth.astype(np.intp)]).mean())
    assert given.answered == 1.0
    assert given.coverage is None
    assert "coverage" not in given.intervals


def test_no_answer_counts_as_wrong_for_classes_and_not_at_all_for_estimates() -> None:
    record = classes(100)
    answers: list[Fused | None] = [*run(Chain("weighted_mean"), record)[:50], *([None] * 50)]
    given = score(answers, record)
    assert given.answered == 0.5
    assert given.accuracy is not None
    assert given.accuracy <= 0.5
    numbers = estimates(100)
    exact = [Fused(value=float(true)) if index % 2 else None for index, true in enumerate(numbers.truth)]
    assert score(exact, numbers).mae == 0.0
    assert score(exact, numbers).r2 == 1.0
    assert score(exact, numbers).answered == 0.5
    assert score([None] * 100, numbers).mae is None


def test_figures_of_estimates_are_those_of_plain_arithmetic() -> None:
    record = estimates(300)
    answers = run(Chain("log_opinion_pool"), record)
    given = score(answers, record)
    values = np.array([one.value for one in answers if one is not None], dtype=np.float64)
    assert given.mae == pytest.approx(np.abs(values - record.truth).mean())
    assert given.r2 == pytest.approx(
        1 - ((values - record.truth) ** 2).sum() / ((record.truth - record.truth.mean()) ** 2).sum()
    )
    assert given.crps is not None
    assert given.mae is not None
    assert given.crps < given.mae


def test_intervals_hold_the_figure_and_are_wider_where_groups_err_together() -> None:
    record = classes(4000)
    given = score(run(Chain("log_opinion_pool"), record), record)
    for name, (low, high) in given.intervals.items():
        assert low <= getattr(given, name) <= high
    rng = np.random.default_rng(0)
    truth = np.zeros(4000, dtype=np.int64)
    bad_day = rng.random(50) < 0.2
    together = [Fused(probabilities=np.eye(3)[int(bad_day[index // 80])]) for index in range(4000)]
    apart = [together[index] for index in rng.permutation(4000)]
    days = replace(record, truth=truth, groups=np.array([f"d{index // 80:02}" for index in range(4000)]))
    (low, high), (near, far) = (score(answers, days).intervals["accuracy"] for answers in (together, apart))
    assert high - low > 4 * (far - near)


def test_a_cell_shows_the_figure_and_its_interval() -> None:
    given = replace(
        score([Fused(value=1.0)], estimates(900).take(np.arange(1))), mae=20.44, intervals={"mae": (19.8, 21.1)}
    )
    assert cell(given, "mae") == "20.4 [19.8, 21.1]"
    assert cell(given, "accuracy") == "-"
