"""Coverage: from how far answers miss the truth, sets and intervals that hold it in a stated share of cases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sdk.fitting import learn
from edge_sdk.fitting.record import Record
from edge_sdk.fitting.score import run
from edge_sdk.fusion.base import Fused
from edge_sdk.fusion.chain import Conformal
from edge_sdk.fusion.file import FusionSpec

ENOUGH = 3000
"""Moments from which a threshold or a comparison is taken; more make it no truer."""

Asked = tuple[FusionSpec, Record]
"""A fusion, and moments that it was not fitted to."""


def conformal(asked: Sequence[Asked], coverage: float) -> Conformal:
    """Thresholds or radii of a stated coverage: for all there, and for each one missing (split conformal).

    Args:
        asked: Fusions, and records of moments that they were not fitted to.
        coverage: The share of moments whose truth the sets or intervals shall hold.
    """
    models, task = asked[0][1].models, asked[0][1].task
    few = [(spec, record.thinned(ENOUGH // len(asked))) for spec, record in asked]
    missing = [(), *((name,) for name in models)] if len(models) > 1 else [()]
    parts = {"+".join(names): _Misses.of(few, names) for names in missing}
    scaled = all(one.scaled for each in parts.values() for one in each)
    found = {
        names: round(learn.quantile(misses, coverage), 6)
        for names, each in parts.items()
        if len(misses := np.concatenate([one.values(scaled=scaled) for one in each]))
    }
    if task == "classification":
        found = {names: -miss for names, miss in found.items()}
        return Conformal(coverage=coverage, threshold=found.pop("", None), without=found)
    return Conformal(coverage=coverage, radius=found.pop("", None), scaled=scaled, without=found)


@dataclass(frozen=True, slots=True, eq=False)
class _Misses:
    """How far answers miss the truth: minus its probability, or the distance from it and the stated deviation.

    Attributes:
        gaps: float64 ``(n,)``.
        stds: float64 ``(n,)``, ones for classes; NaN where none was stated.
    """

    gaps: NDArray[np.float64]
    stds: NDArray[np.float64]

    @classmethod
    def of(cls, asked: Sequence[Asked], absent: Sequence[str]) -> list[_Misses]:
        """Of each fusion on its record, with some contributors absent."""
        return [
            cls._one(run(msgspec.structs.replace(spec, conformal=None).open(), record.without(absent)), record)
            for spec, record in asked
        ]

    @classmethod
    def _one(cls, answers: Sequence[Fused | None], record: Record) -> _Misses:
        gaps, stds = [], []
        for fused, truth in zip(answers, record.truth.tolist(), strict=True):
            if fused is not None and fused.probabilities is not None:
                gaps.append(-float(fused.probabilities[int(truth)]))
                stds.append(1.0)
            elif fused is not None and fused.value is not None:
                gaps.append(abs(fused.value - truth))
                stds.append(fused.std or math.nan)
        return cls(np.array(gaps), np.array(stds))

    @property
    def scaled(self) -> bool:
        """Whether every answer states a deviation."""
        return bool(np.isfinite(self.stds).all())

    def values(self, *, scaled: bool) -> NDArray[np.float64]:
        """What thresholds are taken of."""
        return self.gaps / self.stds if scaled else self.gaps


def limits_of_others(asked: Sequence[Asked], coverage: float) -> list[Conformal | None]:
    """For each group what the other groups' misses ask for, with all contributors there."""
    misses = _Misses.of(asked, ())
    scaled = all(one.scaled for one in misses)
    classes = asked[0][1].task == "classification"
    limits: list[Conformal | None] = []
    for this in misses:
        others = [one.values(scaled=scaled) for one in misses if one is not this]
        if not others or not sum(map(len, others)):
            limits.append(None)
            continue
        limit = learn.quantile(np.concatenate(others), coverage)
        limits.append(
            Conformal(coverage=coverage, threshold=-limit)
            if classes
            else Conformal(coverage=coverage, radius=limit, scaled=scaled)
        )
    return limits
