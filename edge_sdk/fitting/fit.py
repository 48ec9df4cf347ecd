"""Fit: try every method by grouped cross-validation, take the best, and make a fusion file of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_sdk.base.errors import CalibrationError, nearest
from edge_sdk.fitting import learn
from edge_sdk.fitting.methods import Groups, Method, classifiers, estimators, first_against_rest
from edge_sdk.fitting.record import Record, joined
from edge_sdk.fitting.score import Score, run, score
from edge_sdk.fusion.base import Fused
from edge_sdk.fusion.chain import Chain, Conformal, Smoothing
from edge_sdk.fusion.file import FusionSpec

_ENOUGH = 3000  # moments from which a threshold is taken; more make it no truer


@dataclass(frozen=True, slots=True)
class Tried:
    """One row of the table that `fit` prints.

    Attributes:
        title: The method, or a contributor alone.
        score: On groups that it was not fitted on.
    """

    title: str
    score: Score


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


def methods_for(record: Record, groups: Groups | None = None) -> list[Method]:
    """The methods that fit the record's task."""
    if record.task == "regression":
        from edge_sdk.fitting.stack import stack

        return [*estimators(), stack()]
    return classifiers(groups or first_against_rest(len(record.labels)))


def fitted(
    method: Method, record: Record, *, coverage: float | None = 0.9, smoothing: Smoothing | None = None
) -> FusionSpec:
    """Fit one method, with what stands around it, to a record; without `coverage` it states no sets or intervals."""
    temperatures = {name: learn.temperature(record, name) for name in record.models} if method.calibrate else {}
    options: dict[str, Any] = method.fit(record, temperatures)
    spec = FusionSpec(
        task=record.task,
        labels=record.labels,
        unit=record.unit,
        contributors=dict.fromkeys(record.models, ""),
        method=method.fuser,
        options=options,
        temperatures={name: given for name, given in temperatures.items() if given != 1.0},
        smoothing=smoothing,
    )
    return spec if coverage is None else _replaced(spec, conformal=conformal(spec, record, coverage))


def conformal(spec: FusionSpec, record: Record, coverage: float) -> Conformal:
    """Thresholds or radii of a stated coverage: for all there, and for each one missing (split conformal)."""
    if len(record) > _ENOUGH:
        record = record.take(np.linspace(0, len(record) - 1, _ENOUGH).astype(np.intp))
    missing = [(), *((name,) for name in record.models)] if len(record.models) > 1 else [()]
    found: dict[str, float] = {}
    scaled = False
    for names in missing:
        answers = run(_replaced(spec, conformal=None).open(), record.without(names))
        if record.task == "classification":
            said = _at_truth(answers, record)
            found["+".join(names)] = round(-learn.quantile(-said, coverage), 6) if len(said) else 0.0
        else:
            distances, scaled = _distances(answers, record)
            if len(distances):
                found["+".join(names)] = round(learn.quantile(distances, coverage), 6)
    plain = found.pop("", 0.0)
    if record.task == "classification":
        return Conformal(coverage=coverage, threshold=plain, without=found)
    return Conformal(coverage=coverage, radius=plain, scaled=scaled, without=found)


def cross_validated(
    method: Method, record: Record, *, coverage: float = 0.9, smoothing: Smoothing | None = None
) -> tuple[list[Fused | None], Record]:
    """Answers of a method on each group, fitted on the others; and the record in the same order.

    Raises:
        CalibrationError: There are fewer than two groups.
    """
    answers: list[Fused | None] = []
    tests: list[Record] = []
    for _, rows in record.splits():
        if rows.all():
            raise CalibrationError("All moments belong to one group; name a --group column with at least two.")
        chain = fitted(method, record.take(~rows), coverage=coverage, smoothing=smoothing).open()
        tests.append(record.take(rows))
        answers += run(chain, tests[-1])
    return answers, joined(tests)


def fit(
    record: Record,
    *,
    method: str = "auto",
    coverage: float = 0.9,
    groups: Groups | None = None,
    smoothing: Smoothing | None = None,
    bundles: dict[str, str] | None = None,
) -> Fit:
    """Try methods by leaving each group out in turn, and fit the best to all of the record.

    Args:
        record: What the contributors said, on data that their models were not trained on.
        method: Title or fuser of one method; ``auto`` tries all.
        coverage: Stated coverage of sets or intervals.
        groups: Groups of classes for the staged pool; None = the first class against the rest.
        smoothing: Memory over time; None = none.
        bundles: Digest of each contributor's bundle.

    Raises:
        CalibrationError: The record has too few groups.
        ConfigError: No method has that name.
    """
    candidates = methods_for(record, groups)
    if method != "auto":
        chosen = [one for one in candidates if method in {one.title, one.fuser}]
        if not chosen:
            known = sorted({one.fuser for one in candidates} | {one.title for one in candidates})
            raise CalibrationError(f"No method {method!r} for {record.task}. {nearest(method, known)}")
        candidates = chosen
    tried: list[tuple[Tried, Method | None]] = []
    for one in candidates:
        answers, tested = cross_validated(one, record, coverage=coverage, smoothing=smoothing)
        tried.append((Tried(one.title, score(answers, tested)), one))
    for name in record.models:
        alone = record.only(name)
        tried.append((Tried(f"{name} alone", score(run(Chain("weighted_mean"), alone), record)), None))
    tried.sort(key=lambda pair: _badness(pair[0].score))
    title, best = next((row.title, one) for row, one in tried if one is not None)
    spec = fitted(best, record, coverage=coverage, smoothing=smoothing)
    spec = _replaced(
        spec,
        contributors={name: (bundles or {}).get(name, "") for name in record.models},
        provenance={"data": fingerprint(record), "moments": len(record), "method": title},
    )
    return Fit(spec, tuple(row for row, _ in tried), title)


def fingerprint(record: Record) -> str:
    """``sha256:…`` of the truth and times that a fusion was fitted on."""
    digest = hashlib.sha256(record.t_ns.tobytes())
    digest.update(np.ascontiguousarray(record.truth).tobytes())
    return "sha256:" + digest.hexdigest()


def _badness(given: Score) -> tuple[float, float]:
    """What is chosen by: macro-F1 and accuracy together for classes, mean absolute error for estimates."""
    if given.accuracy is not None:
        return -(given.accuracy + (given.macro_f1 or 0.0)), given.log_loss or 0.0
    return (given.mae if given.mae is not None else np.inf), 0.0


def _replaced(spec: FusionSpec, **changes: Any) -> FusionSpec:
    import msgspec

    return msgspec.structs.replace(spec, **changes)


def _at_truth(answers: Sequence[Fused | None], record: Record) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array(
        [
            float(fused.probabilities[int(truth)])
            for fused, truth in zip(answers, record.truth.tolist(), strict=True)
            if fused is not None and fused.probabilities is not None
        ]
    )


def _distances(answers: Sequence[Fused | None], record: Record) -> tuple[np.ndarray[Any, np.dtype[np.float64]], bool]:
    pairs = [
        (abs(fused.value - truth), fused.std)
        for fused, truth in zip(answers, record.truth.tolist(), strict=True)
        if fused is not None and fused.value is not None
    ]
    scaled = bool(pairs) and all(std is not None for _, std in pairs)
    return np.array([gap / std if scaled and std else gap for gap, std in pairs]), scaled
