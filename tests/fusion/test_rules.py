from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_sdk.base.errors import ConfigError
from edge_sdk.contract.prediction import ContributorState, Prediction
from edge_sdk.fusion.expression import Expression
from edge_sdk.fusion.rules import Rule, Rules

NAMES = ("smoke", "temp", "gas")
S = 1_000_000_000


def said(model: str, *, t_s: int = 100, state: str = "fresh", **answer: Any) -> Prediction:
    return Prediction(model, (t_s - 1) * S, t_s * S, state=ContributorState(state), **answer)


def rules(*when: str, **options: Any) -> Rules:
    given = tuple(Rule(when=one, then="alarm") for one in when)
    return Rules(Rules.Options(rules=given, contributors=NAMES, labels=("calm", "alarm"), **options))


SMOKE = said("smoke", probabilities=np.array([0.1, 0.9]))
CALM = said("smoke", probabilities=np.array([0.9, 0.1]))
HOT, COLD = said("temp", value=60.0, std=1.0), said("temp", value=20.0, std=1.0)


def holds(when: str, *predictions: Prediction) -> bool:
    fused = rules(when, min_contributors=9).fuse(predictions)
    return fused is not None


@pytest.mark.parametrize(
    ("when", "truth"),
    [
        ("smoke.p > 0.8 and temp.value > 57", True),
        ("smoke.p > 0.8 and smoke.label == 'alarm'", True),
        ("smoke.label in ('calm', 'alarm')", True),
        ("smoke.label not in ('alarm',)", False),
        ("40 < temp.value <= 60", True),
        ("temp.value - 2 * temp.std > 57 and not smoke.p < 0.5", True),
        ("max(smoke.p, 0.95) == 0.95", True),
        ("abs(temp.value - 61) < 2", True),
        ("gas.state == 'absent'", True),
        ("gas.fresh or temp.fresh", True),
        ("hour == 0", True),
        ("temp.age_s == 0", True),
    ],
)
def test_conditions_read_as_they_are_written(when: str, truth: bool) -> None:
    assert holds(when, SMOKE, HOT) is truth


def test_what_an_absent_contributor_would_say_is_unknown_and_not_false() -> None:
    gone = said("temp", state="absent")
    assert not holds("temp.value > 57", SMOKE, gone)
    assert not holds("not temp.value > 57", SMOKE, gone)
    assert not holds("temp.value > 57 and smoke.p > 0.8", SMOKE, gone)
    assert holds("temp.value > 57 or smoke.p > 0.8", SMOKE, gone)
    assert holds("temp.state == 'absent' and smoke.p > 0.8", SMOKE, gone)


def test_a_stale_word_counts_only_as_being_stale() -> None:
    stale = said("temp", t_s=40, state="stale", value=99.0)
    assert not holds("temp.value > 57", SMOKE, stale)
    assert holds("temp.state == 'stale' and temp.age_s > 50", SMOKE, stale)


def test_dividing_by_nothing_makes_no_alarm() -> None:
    assert not holds("temp.value / (temp.value - temp.value) > 1", HOT)


@pytest.mark.parametrize(
    ("when", "column", "words"),
    [
        ("smok.p > 0.8", 1, "Did you mean 'smoke'"),
        ("smoke.p > 0.8 and smoke.valu > 3", 25, "Did you mean 'value'"),
        ("smoke.p > 'high'", 11, "has a text where a number is wanted"),
        ("smoke.p + temp.value", 1, "is a number, wanted is a condition"),
        ("smoke.p > 0.8 and temp.value", 19, "has a number where a truth is wanted"),
        ("gas.state == 'abscent'", 14, "Did you mean 'absent'"),
        ("smoke.label == 'fire'", 16, "no label"),
        ("smoke > 1", 1, "without a field"),
        ("__import__('os').system('true') == 0", 1, "calls"),
        ("smoke.p.__class__ == 1", 1, "reaches into"),
        ("[x for x in (1, 2)]", 1, "ListComp"),
        ("smoke.p > ", 8, "cannot be read"),
        ("smoke.label < 'b'", 1, "only numbers have one"),
        ("smoke.p ** 2 > 1", 1, "BinOp"),
        ("min(smoke.p) > 1", 1, "two or more"),
    ],
)
def test_a_wrong_name_or_type_is_an_error_at_load_time_with_its_place(when: str, column: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        Expression(when, NAMES, ("calm", "alarm"))
    lines = str(caught.value).split("\n")
    assert lines[1].strip() == when.strip()
    if "cannot be read" not in words:
        assert lines[2].index("^") - 1 == column


def test_the_first_rule_that_holds_decides_and_is_named() -> None:
    fuser = Rules(
        Rules.Options(
            rules=(
                Rule(when="smoke.p > 0.99", then="alarm"),
                Rule(when="temp.value > 57", then="alarm", name="heat", confidence=0.9),
            ),
            contributors=NAMES,
            labels=("calm", "alarm"),
        )
    )
    fused = fuser.fuse([CALM, HOT])
    assert fused is not None
    assert fused.probabilities == pytest.approx([0.1, 0.9])
    assert fused.flags == ("rule.heat",)


def test_where_no_rule_holds_the_fuser_behind_decides() -> None:
    fused = rules("smoke.p > 0.95").fuse([CALM])
    assert fused is not None
    assert fused.probabilities == pytest.approx([0.9, 0.1])
    assert fused.flags == ()


def test_a_rule_may_give_an_estimate() -> None:
    fuser = Rules(Rules.Options(rules=(Rule(when="temp.value > 57", value=0.0),), contributors=NAMES))
    fused = fuser.fuse([HOT])
    assert fused is not None
    assert fused.value == 0.0


@pytest.mark.parametrize(
    "rule",
    [
        Rule(when="temp.value > 1"),
        Rule(when="temp.value > 1", then="fire"),
        Rule(when="temp.value > 1", then="alarm", value=1.0),
    ],
)
def test_a_rule_without_a_proper_answer_is_refused(rule: Rule) -> None:
    with pytest.raises(ConfigError):
        Rules(Rules.Options(rules=(rule,), contributors=NAMES, labels=("calm", "alarm")))
