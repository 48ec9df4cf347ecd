"""Methods: how each fuser is fitted to a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_sdk.fitting import learn
from edge_sdk.fitting.record import Record
from edge_sdk.fusion.expression import Expression
from edge_sdk.fusion.facts import facts

Options = dict[str, Any]
Groups = tuple[tuple[int, ...], ...]
_LEAD = 10.0
_ENOUGH = 200  # moments of a context from which its own weights count for half


@dataclass(frozen=True, slots=True)
class Method:
    """One way to fuse.

    Attributes:
        title: What tables call it.
        fuser: Name of the fuser.
        fit: From a record and the temperatures to the fuser's options.
        calibrate: Whether each contributor gets a temperature first.
        learned: Whether its parameters are fitted jointly, by what worked together in training.
    """

    title: str
    fuser: str
    fit: Callable[[Record, dict[str, float]], Options]
    calibrate: bool = True
    learned: bool = False


def first_against_rest(n_classes: int) -> Groups:
    """The usual two questions: is there anything, and what is it."""
    return ((0,), tuple(range(1, n_classes)))


def classifiers(groups: Groups, contexts: Mapping[str, str] | None = None) -> list[Method]:
    """Every way to fuse classes, plain ones first; with `contexts`, conditions by name, also weights for each."""
    by_context = [Method("log-opinion pool, by skill and context", "contexts", _in_contexts(_skilled_pool, contexts))]
    return [
        Method("weighted mean, equal", "weighted_mean", lambda _, __: {}),
        Method("log-opinion pool, equal", "log_opinion_pool", lambda _, __: {"temper": 0.5}),
        Method("log-opinion pool, by skill", "log_opinion_pool", _skilled_pool),
        Method("staged pool", "staged_pool", lambda record, _: _staged(record, groups)),
        Method("majority vote", "vote", lambda _, __: {}),
        Method("weighted vote", "vote", lambda record, _: {"kind": "weighted", "weights": _flat(record)}),
        Method("Bayes, confusion matrices", "bayes_confusion", _bayes),
        Method("Dempster-Shafer", "dempster_shafer", _evidence),
        *(by_context if contexts else ()),
    ]


def estimators(contexts: Mapping[str, str] | None = None) -> list[Method]:
    """Every way to fuse estimates but stacking; with `contexts`, conditions by name, also weights for each."""
    by_context = [Method("mean, by precision and context", "contexts", _in_contexts(_precise_mean, contexts))]
    return [
        Method("mean, equal", "weighted_mean", lambda _, __: {}),
        Method("mean, by precision", "weighted_mean", _precise_mean),
        Method("inverse variance", "log_opinion_pool", lambda _, __: {"temper": 0.5}),
        Method("median", "trimmed_mean", lambda _, __: {}),
        Method("covariance intersection", "covariance_intersection", lambda _, __: {}),
        *(by_context if contexts else ()),
    ]


def _in_contexts(
    plain: Callable[[Record, dict[str, float]], Options], contexts: Mapping[str, str] | None
) -> Callable[[Record, dict[str, float]], Options]:
    """Fit a pool's weights to all, and for each context to the moments in it, drawn towards those of all."""

    def fit(record: Record, temperatures: dict[str, float]) -> Options:
        options = plain(record, temperatures)
        cases = []
        for name, when in (contexts or {}).items():
            rows = _holding(when, record)
            n = int(rows.sum())
            share = n / (n + _ENOUGH)
            special = plain(record.take(rows), temperatures)["weights"] if n else {}
            weights = {
                model: round(share * special.get(model, weight) + (1 - share) * weight, 4)
                for model, weight in options["weights"].items()
            }
            cases.append({"name": name, "when": when, "options": {"weights": weights}})
        return {
            "contexts": cases,
            "contributors": list(record.models),
            "labels": list(record.labels),
            "method": "log_opinion_pool" if record.task == "classification" else "weighted_mean",
            "options": options,
        }

    return fit


def _holding(when: str, record: Record) -> NDArray[np.bool_]:
    """At which moments a condition holds."""
    condition = Expression(when, record.models, record.labels)
    return np.array(
        [condition.holds(facts(moment, record.models, record.labels)) for moment in record.moments()], dtype=np.bool_
    )


def _flat(record: Record) -> dict[str, float]:
    """One skill for each contributor: over all classes at once."""
    outer, _ = learn.skills(record, [(index,) for index in range(len(record.labels))])
    return _rounded(outer)


def _skilled_pool(record: Record, _: dict[str, float]) -> Options:
    return {"temper": 0.5, "weights": _flat(record)}


def _staged(record: Record, groups: Groups) -> Options:
    """All count alike in the first question; in the second the most skilled one leads.

    Which contributor is best at a question can be learned from few days; by how much cannot.
    """
    _, inner = learn.skills(record, groups)
    leader = max(inner, key=lambda name: inner[name])
    return {
        "groups": [list(group) for group in groups],
        "inner_weights": {name: _LEAD if name == leader else 1.0 for name in inner},
    }


def _bayes(record: Record, temperatures: dict[str, float]) -> Options:
    return {
        "matrices": {
            name: learn.confusion(record, name, temperatures.get(name, 1.0)).tolist() for name in record.models
        },
        "temper": 0.5,
    }


def _evidence(record: Record, _: dict[str, float]) -> Options:
    return {"reliability": {name: min(0.98, max(0.05, skill)) for name, skill in _flat(record).items()}}


def _precise_mean(record: Record, _: dict[str, float]) -> Options:
    return {"weights": _precisions(record)}


def _precisions(record: Record) -> dict[str, float]:
    weights: dict[str, float] = {}
    for name, opinion in record.opinions.items():
        assert opinion.values is not None
        error = opinion.values[opinion.fresh] - record.truth[opinion.fresh]
        weights[name] = 1.0 / max(float(np.mean(error**2)), 1e-12) if len(error) else 1e-12
    top = max(weights.values())
    return _rounded({name: weight / top for name, weight in weights.items()})


def _rounded(weights: dict[str, float]) -> dict[str, float]:
    """Four digits are enough; nobody is silenced altogether, for he may be the last one there."""
    return {name: max(0.01, round(weight, 4)) for name, weight in weights.items()}
