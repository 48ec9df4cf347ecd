"""Fit: try every method by grouped cross-validation, take the best, and make a fusion file of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from edge_sdk.base.errors import CalibrationError, nearest
from edge_sdk.fitting import learn
from edge_sdk.fitting.coverage import ENOUGH, Asked, conformal, limits_of_others
from edge_sdk.fitting.methods import Groups, Method, classifiers, estimators, first_against_rest
from edge_sdk.fitting.network import Training
from edge_sdk.fitting.record import Record, joined
from edge_sdk.fitting.score import Score, run, score
from edge_sdk.fitting.stack import stack
from edge_sdk.fusion.base import Fused
from edge_sdk.fusion.chain import Chain, Smoothing
from edge_sdk.fusion.file import FusionSpec

_FOLDS = 3  # within what a method is fitted to, for thresholds on moments that it was not fitted to


@dataclass(frozen=True, slots=True)
class Tried:
    """One row of the table that `fit` prints.

    Attributes:
        title: The method, or a contributor alone.
        score: On groups that it was not fitted on.
        absent: Mean accuracy (or error) there over contributors that are absent, one at a time.
        astray: The same over contributors that say what is not so, one at a time.
        merit: What is chosen by: higher is better; see `fit`.
    """

    title: str
    score: Score
    absent: float | None = None
    astray: float | None = None
    merit: float | None = None


_Found = tuple[Tried, Method, list[Asked]]


@dataclass(frozen=True, slots=True)
class Fit:
    """What `fit` found.

    Attributes:
        spec: The fusion, to be written by `write_fusion`.
        table: Every method tried and each contributor alone, best first.
        chosen: Title of the method in `spec`.
    """

    spec: FusionSpec
    table: tuple[Tried, ...]
    chosen: str


def methods_for(
    record: Record, groups: Groups | None = None, contexts: Mapping[str, str] | None = None
) -> list[Method]:
    """The methods that fit the record's task."""
    if record.task == "regression":
        roots = [stack(root=True, title="stacking with masks, of roots")] if record.truth.min() >= 0 else []
        return [*estimators(contexts), stack(), *roots]
    linear = stack(Training(hidden=()), title="linear stack with masks")
    return [*classifiers(groups or first_against_rest(len(record.labels)), contexts), linear, stack()]


def fitted(
    method: Method, record: Record, *, coverage: float | None = 0.9, smoothing: Smoothing | None = None
) -> FusionSpec:
    """Fit one method, with what stands around it, to a record; without `coverage` it states no sets or intervals.

    Thresholds are taken from moments that the method was not fitted to: where there are several groups, it is fitted
    to some of them and asked about the others (cross-conformal, Vovk 2015).
    """
    spec = _plain(method, record, smoothing)
    if coverage is None:
        return spec
    folds = record.folds(_FOLDS)
    if len(folds) == 1:
        return msgspec.structs.replace(spec, conformal=conformal([(spec, record)], coverage))
    asked = [(_plain(method, record.take(~rows), smoothing), record.take(rows)) for rows in folds]
    return msgspec.structs.replace(spec, conformal=conformal(asked, coverage))


def _plain(method: Method, record: Record, smoothing: Smoothing | None) -> FusionSpec:
    temperatures = {name: learn.temperature(record, name) for name in record.models} if method.calibrate else {}
    options: dict[str, Any] = method.fit(record, temperatures)
    return FusionSpec(
        task=record.task,
        labels=record.labels,
        unit=record.unit,
        contributors=dict.fromkeys(record.models, ""),
        method=method.fuser,
        options=options,
        temperatures={name: given for name, given in temperatures.items() if given != 1.0},
        smoothing=smoothing,
    )


def cross_validated(
    method: Method, record: Record, *, coverage: float | None = 0.9, smoothing: Smoothing | None = None
) -> tuple[list[Fused | None], Record]:
    """Answers of a method on each group, fitted on the others; and the record in the same order.

    Each group's sets or intervals are those that the other groups' answers ask for, which were given by fusions that
    had not seen them (CV+, Barber et al. 2021).

    Raises:
        CalibrationError: There are fewer than two groups.
    """
    asked = left_out(method, record, smoothing=smoothing)
    if coverage is not None:
        limits = limits_of_others(asked, coverage)
        asked = [
            (msgspec.structs.replace(spec, conformal=one), test)
            for (spec, test), one in zip(asked, limits, strict=True)
        ]
    return [answer for spec, test in asked for answer in run(spec.open(), test)], joined([test for _, test in asked])


def left_out(method: Method, record: Record, *, smoothing: Smoothing | None = None) -> list[Asked]:
    """For each group the method fitted without it, and the group's record.

    Raises:
        CalibrationError: There are fewer than two groups.
    """
    asked = []
    for _, rows in record.splits():
        if rows.all():
            raise CalibrationError("All moments belong to one group; name a --group column with at least two.")
        asked.append((_plain(method, record.take(~rows), smoothing), record.take(rows)))
    return asked


def tried(title: str, asked: Sequence[Asked], coverage: float) -> Tried:
    """How fusions do on groups that they were not fitted to: whole, with one absent, and with one astray.

    Args:
        title: What the table calls it.
        asked: As `left_out` gives it.
        coverage: Stated coverage of sets or intervals; each group's limits are taken from the others.
    """
    tests = [test for _, test in asked]
    few = [test.thinned(max(20, ENOUGH * len(test) // sum(map(len, tests)))) for test in tests]
    limits = limits_of_others([(spec, test) for (spec, _), test in zip(asked, few, strict=True)], coverage)
    stated = [msgspec.structs.replace(spec, conformal=one) for (spec, _), one in zip(asked, limits, strict=True)]
    whole = score(_answers(stated, tests), joined(tests))
    scores: dict[str, list[Score]] = {"absent": [], "astray": []}
    models = tests[0].models
    if len(models) > 1:
        specs, together, sizes = [spec for spec, _ in asked], joined(few), [len(test) for test in few]
        for name in models:
            scores["absent"].append(score(_answers(specs, [test.without([name]) for test in few]), together))
            scores["astray"].append(score(_answers(specs, _cut(together.astray(name), sizes)), together))
    return _judged(title, whole, scores, n_models=len(models))


def _answers(specs: Sequence[FusionSpec], tests: Sequence[Record]) -> list[Fused | None]:
    return [answer for spec, test in zip(specs, tests, strict=True) for answer in run(spec.open(), test)]


def _cut(record: Record, sizes: Sequence[int]) -> list[Record]:
    ends = np.cumsum(sizes)
    return [record.take(np.arange(end - size, end)) for end, size in zip(ends, sizes, strict=True)]


def _judged(title: str, whole: Score, scores: Mapping[str, Sequence[Score]], *, n_models: int) -> Tried:
    """Merit is the mean over troubles; nobody withstands one of two that is astray, and so it counts from three on."""
    wanted = ["absent", "astray"] if n_models > 2 else ["absent"]
    merits = [_merit(whole)]
    merits += [float(np.mean([_merit(one) for one in scores[trouble]])) for trouble in wanted if scores[trouble]]
    shown = {trouble: _mean_of(given) for trouble, given in scores.items()}
    return Tried(title, whole, shown["absent"], shown["astray"], float(np.mean(merits)))


def _mean_of(scores: Sequence[Score]) -> float | None:
    given = [one.accuracy if one.accuracy is not None else one.mae for one in scores]
    there = [one for one in given if one is not None]
    return float(np.mean(there)) if there else None


def fit(
    record: Record,
    *,
    method: str = "auto",
    coverage: float = 0.9,
    groups: Groups | None = None,
    contexts: Mapping[str, str] | None = None,
    smoothing: Smoothing | None = None,
    bundles: dict[str, str] | None = None,
) -> Fit:
    """Try methods by leaving each group out in turn, and fit the best to all of the record.

    The best is not the one that shines while all is well, but the best on average over three cases: all contributors
    as they are; one absent; one astray, sure of what is not so, as a lamp that was covered. What a record never shows,
    an evening in the dark, is met by a method that does not hang on one contributor. And a method that is fitted
    jointly, a stack, is taken only where it is better by more than a standard error (Breiman et al. 1984): it has
    learned who was right together, and that is what changes.

    Args:
        record: What the contributors said, on data that their models were not trained on.
        method: Title or fuser of one method; ``auto`` tries all.
        coverage: Stated coverage of sets or intervals.
        groups: Groups of classes for the staged pool; None = the first class against the rest.
        contexts: Conditions by name; where given, weights are also learned for each.
        smoothing: Memory over time; None = none.
        bundles: Digest of each contributor's bundle.

    Raises:
        CalibrationError: The record has too few groups.
        ConfigError: No method has that name.
    """
    candidates = methods_for(record, groups, contexts)
    if method != "auto":
        chosen = [one for one in candidates if method in {one.title, one.fuser}]
        if not chosen:
            known = sorted({one.fuser for one in candidates} | {one.title for one in candidates})
            raise CalibrationError(f"No method {method!r} for {record.task}. {nearest(method, known)}")
        candidates = chosen
    found: list[_Found] = []
    for one in candidates:
        asked = left_out(one, record, smoothing=smoothing)
        found.append((tried(one.title, asked, coverage), one, asked))
    found.sort(key=lambda each: -(-np.inf if each[0].merit is None else each[0].merit))
    best, chosen_method, asked = next(each for each in found if _is_worth_it(each, found))
    table = [row for row, _, _ in found]
    table += [
        Tried(f"{name} alone", score(run(Chain("weighted_mean"), record.only(name)), record)) for name in record.models
    ]
    spec = msgspec.structs.replace(_plain(chosen_method, record, smoothing), conformal=conformal(asked, coverage))
    spec = msgspec.structs.replace(
        spec,
        contributors={name: (bundles or {}).get(name, "") for name in record.models},
        provenance={"data": fingerprint(record), "moments": len(record), "method": best.title},
    )
    return Fit(spec, tuple(table), best.title)


def fingerprint(record: Record) -> str:
    """``sha256:…`` of the truth and times that a fusion was fitted on."""
    digest = hashlib.sha256(record.t_ns.tobytes())
    digest.update(np.ascontiguousarray(record.truth).tobytes())
    return "sha256:" + digest.hexdigest()


def _is_worth_it(this: _Found, all_of: Sequence[_Found]) -> bool:
    """Whether a method is not learned, or clearly better than the best one that is not."""
    merits = [row.merit for row, method, _ in all_of if not method.learned and row.merit is not None]
    if not this[1].learned or not merits or this[0].merit is None:
        return True
    return this[0].merit > max(merits) + _error(this[0].score)


def _error(given: Score) -> float:
    """Standard error of the merit."""
    names = ("accuracy", "macro_f1") if given.accuracy is not None else ("mae",)
    widths = [high - low for low, high in (given.intervals[name] for name in names if name in given.intervals)]
    return float(np.mean(widths)) / (2 * 1.96) if widths else 0.0


def _merit(given: Score) -> float:
    """Accuracy and macro-F1 together for classes, mean absolute error for estimates; higher is better."""
    if given.accuracy is not None:
        return (given.accuracy + (given.macro_f1 or 0.0)) / 2
    return -given.mae if given.mae is not None else -np.inf
