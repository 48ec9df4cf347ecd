"""Rules: declared conditions over predictions, ages and states decide, in order; a fuser decides the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec
import numpy as np

from edge_sdk.base import plugins
from edge_sdk.base.errors import ConfigError, nearest
from edge_sdk.contract.prediction import Prediction
from edge_sdk.fusion.base import Fused, Fuser, Task
from edge_sdk.fusion.expression import Expression
from edge_sdk.fusion.facts import facts
from edge_sdk.fusion.shares import fresh


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule.

    Attributes:
        when: The condition, such as ``smoke.p > 0.8 and temp.value > 57``; see `edge_sdk.fusion.expression`.
        then: The label that holds then (classification).
        value: The estimate that holds then (regression).
        confidence: Probability that `then` is given.
        name: What the result is flagged with, ``rule.NAME``; default: the rule's number.
    """

    when: str
    then: str = ""
    value: float | None = None
    confidence: float = 0.99
    name: str = ""


class Rules:
    """The first rule that holds decides; where none does, another fuser does.

    Stale, absent and failed contributors can be asked for (``gas.state == 'absent'``, ``gas.age_s > 60``), and only so:
    the values of what is not FRESH are not known, and a condition that needs them does not hold.
    """

    name = "rules"
    tasks: ClassVar[frozenset[Task]] = frozenset(("classification", "regression"))

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Options of the rules.

        Attributes:
            rules: In order.
            contributors: Names that conditions may use; wanted where there are rules.
            labels: The labels, in the models' order; wanted where a rule has `then`.
            otherwise: Fuser that decides where no rule holds.
            otherwise_options: Its options.
            min_contributors: With fewer FRESH ones than this, and no rule that holds, there is no answer.
        """

        rules: tuple[Rule, ...] = ()
        contributors: tuple[str, ...] = ()
        labels: tuple[str, ...] = ()
        otherwise: str = "log_opinion_pool"
        otherwise_options: dict[str, Any] = {}
        min_contributors: int = 1

    def __init__(self, options: Options | None = None) -> None:
        self.options = given = options or self.Options()
        for number, rule in enumerate(given.rules, start=1):
            if bool(rule.then) == (rule.value is not None):
                raise ConfigError(f"Rule {number} ({rule.when!r}) wants either 'then' or 'value'.")
            if rule.then and rule.then not in given.labels:
                raise ConfigError(
                    f"Rule {number} says {rule.then!r}, which is no label. {nearest(rule.then, given.labels)}"
                )
            if not 0.5 <= rule.confidence < 1:
                raise ConfigError(f"Rule {number} has confidence {rule.confidence}; wanted is 0.5 to less than 1.")
        self._conditions = [Expression(rule.when, given.contributors, given.labels) for rule in given.rules]
        kind = plugins.load("edge_sdk.fusers", given.otherwise)
        try:
            self._otherwise: Fuser = kind(msgspec.convert(given.otherwise_options, kind.Options))
        except msgspec.ValidationError as error:
            raise ConfigError(f"Options of {given.otherwise!r} behind the rules: {error}.") from error

    def fuse(self, predictions: Sequence[Prediction]) -> Fused | None:
        """Apply the rules, then the fuser behind them."""
        if self._conditions:
            known = facts(predictions, self.options.contributors, self.options.labels)
            for number, (condition, rule) in enumerate(zip(self._conditions, self.options.rules, strict=True), start=1):
                if condition.holds(known):
                    return self._decided(rule, number, fresh(predictions))
        if len(fresh(predictions)) < self.options.min_contributors:
            return None
        return self._otherwise.fuse(predictions)

    def _decided(self, rule: Rule, number: int, counted: Sequence[Prediction]) -> Fused:
        weights = {one.model: 1.0 / len(counted) for one in counted}
        flags = (f"rule.{rule.name or number}",)
        if rule.value is not None:
            return Fused(value=rule.value, weights=weights, flags=flags)
        labels = self.options.labels
        rest = (1.0 - rule.confidence) / max(1, len(labels) - 1)
        probabilities = np.full(len(labels), rest)
        probabilities[labels.index(rule.then)] = rule.confidence
        return Fused(probabilities=probabilities / probabilities.sum(), weights=weights, flags=flags)
