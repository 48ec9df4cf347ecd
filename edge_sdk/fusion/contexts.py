"""Contexts: another fuser, or other weights, where a condition holds; by night, while the pump runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec

from edge_sdk.base import plugins
from edge_sdk.base.errors import ConfigError
from edge_sdk.contract.prediction import Prediction
from edge_sdk.fusion.base import Fused, Fuser, Task
from edge_sdk.fusion.expression import Expression
from edge_sdk.fusion.facts import facts
from edge_sdk.fusion.shares import fresh


class Context(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One context.

    Attributes:
        name: What a result is flagged with, ``context.NAME``.
        when: The condition, such as ``hour >= 20 or hour < 6``; see `edge_sdk.fusion.expression`.
        options: Options of the fuser that are different then, such as its weights.
    """

    name: str
    when: str
    options: dict[str, Any] = {}


class Contexts:
    """One fuser with options for each context: what a sensor is worth by day, it need not be worth by night.

    The first context whose condition holds counts; where none does, the plain options do. A condition that needs what
    an absent contributor would say does not hold.
    """

    name = "contexts"
    tasks: ClassVar[frozenset[Task]] = frozenset(("classification", "regression"))

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Options of the contexts.

        Attributes:
            contexts: In order.
            contributors: Names that conditions may use.
            labels: The labels, in the models' order; wanted where a condition asks for one.
            method: The fuser.
            options: Its options where no context holds; those of a context come on top.
            min_contributors: With fewer FRESH ones than this there is no answer.
        """

        contexts: tuple[Context, ...] = ()
        contributors: tuple[str, ...] = ()
        labels: tuple[str, ...] = ()
        method: str = "log_opinion_pool"
        options: dict[str, Any] = {}
        min_contributors: int = 1

    def __init__(self, options: Options | None = None) -> None:
        self.options = given = options or self.Options()
        self._plain = self._fuser({})
        self._cases = [
            (
                Expression(one.when, given.contributors, given.labels),
                self._fuser(one.options),
                (f"context.{one.name}",),
            )
            for one in given.contexts
        ]

    def fuse(self, predictions: Sequence[Prediction]) -> Fused | None:
        """Fuse as the first context that holds says."""
        if len(fresh(predictions)) < self.options.min_contributors:
            return None
        if self._cases:
            known = facts(predictions, self.options.contributors, self.options.labels)
            for condition, fuser, flags in self._cases:
                if condition.holds(known):
                    fused = fuser.fuse(predictions)
                    return None if fused is None else _flagged(fused, flags)
        return self._plain.fuse(predictions)

    def _fuser(self, options: dict[str, Any]) -> Fuser:
        kind = plugins.load("edge_sdk.fusers", self.options.method)
        try:
            fuser: Fuser = kind(msgspec.convert({**self.options.options, **options}, kind.Options))
        except msgspec.ValidationError as error:
            raise ConfigError(f"Options of {self.options.method!r} in a context: {error}.") from error
        return fuser


def _flagged(fused: Fused, flags: tuple[str, ...]) -> Fused:
    return Fused(
        probabilities=fused.probabilities,
        value=fused.value,
        std=fused.std,
        interval=fused.interval,
        set=fused.set,
        weights=fused.weights,
        flags=(*fused.flags, *flags),
    )
