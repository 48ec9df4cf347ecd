"""A record: what contributors said of many moments, and what was true."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge_sdk.base.errors import CalibrationError
from edge_sdk.contract.prediction import ContributorState, Prediction
from edge_sdk.fusion.base import Task
from edge_sdk.windowing.align import Moment


@dataclass(frozen=True, slots=True, eq=False)
class Opinion:
    """What one contributor said at each moment; rows where it is not `fresh` hold nothing of worth.

    Attributes:
        fresh: bool ``(n,)``.
        probabilities: float64 ``(n, n_classes)``; None for regression.
        values: float64 ``(n,)``; None for classification.
        stds: float64 ``(n,)``; None where it states none.
        features: float64 ``(n, n_features)``; None where it hands on none.
    """

    fresh: NDArray[np.bool_]
    probabilities: NDArray[np.float64] | None = None
    values: NDArray[np.float64] | None = None
    stds: NDArray[np.float64] | None = None
    features: NDArray[np.float64] | None = None

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Opinion:
        """The moments that `rows` picks."""
        return Opinion(
            fresh=self.fresh[rows],
            probabilities=None if self.probabilities is None else self.probabilities[rows],
            values=None if self.values is None else self.values[rows],
            stds=None if self.stds is None else self.stds[rows],
            features=None if self.features is None else self.features[rows],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """Opinions of several contributors, side by side with the truth.

    Attributes:
        opinions: By model name, in the order of the contributors.
        truth: Class index int64 ``(n,)``, or the true value float64 ``(n,)``.
        t_ns: int64 ``(n,)``, event time of each moment.
        groups: ``(n,)``: day, station, person; what must not be on both sides of a split.
        labels: Labels (classification).
        unit: Unit (regression).
        stale: Contributors whose words are all older than their max age.
    """

    opinions: Mapping[str, Opinion]
    truth: NDArray[np.int64] | NDArray[np.float64]
    t_ns: NDArray[np.int64]
    groups: NDArray[np.str_]
    labels: tuple[str, ...] = ()
    unit: str = ""
    stale: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.truth)
        for name, opinion in self.opinions.items():
            if len(opinion.fresh) != n or len(self.t_ns) != n or len(self.groups) != n:
                raise CalibrationError(f"Record has {n} truths and {len(opinion.fresh)} opinions of {name!r}.")

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def task(self) -> Task:
        """What is asked."""
        return "classification" if self.labels else "regression"

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the contributors."""
        return tuple(self.opinions)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Record:
        """The moments that `rows` picks."""
        return replace(
            self,
            opinions={name: opinion.take(rows) for name, opinion in self.opinions.items()},
            truth=self.truth[rows],
            t_ns=self.t_ns[rows],
            groups=self.groups[rows],
        )

    def without(self, names: Sequence[str]) -> Record:
        """The same with some contributors absent throughout."""
        nobody = np.zeros(len(self), dtype=np.bool_)
        opinions = {
            name: replace(opinion, fresh=nobody) if name in names else opinion
            for name, opinion in self.opinions.items()
        }
        return replace(self, opinions=opinions)

    def aged(self, names: Sequence[str]) -> Record:
        """The same with some contributors stale throughout: their words are there, and must not count."""
        return replace(self, stale=tuple(names))

    def only(self, name: str) -> Record:
        """The same with one contributor alone there."""
        return self.without([other for other in self.models if other != name])

    def astray(self, name: str) -> Record:
        """The same with one contributor sure of what is not so: it says what it said half the record earlier."""
        n = len(self)
        elsewhere = self.opinions[name].take((np.arange(n) + n // 2) % n)
        elsewhere = replace(elsewhere, fresh=elsewhere.fresh & self.opinions[name].fresh)
        return replace(self, opinions={**self.opinions, name: elsewhere})

    def thinned(self, most: int) -> Record:
        """At most so many moments, spread evenly."""
        n = len(self)
        return self if n <= most else self.take(np.linspace(0, n - 1, most).astype(np.intp))

    def folds(self, most: int) -> list[NDArray[np.bool_]]:
        """Groups dealt out to at most so many folds: which moments belong to each."""
        names = sorted(set(self.groups.tolist()))
        n = min(most, len(names))
        return [np.isin(self.groups, names[fold::n]) for fold in range(n)]

    def splits(self) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        """Each group, and which moments belong to it."""
        for group in sorted(set(self.groups.tolist())):
            yield group, self.groups == group

    def moments(self) -> Iterator[list[Prediction]]:
        """Each moment as a fuser sees it on a station."""
        rows = [list(self._said(name, opinion)) for name, opinion in self.opinions.items()]
        return (list(moment) for moment in zip(*rows, strict=True))

    def _said(self, name: str, opinion: Opinion) -> Iterator[Prediction]:
        times, is_stale = self.t_ns.tolist(), name in self.stale
        values = None if opinion.values is None else opinion.values.tolist()
        stds = None if opinion.stds is None else opinion.stds.tolist()
        features = None if opinion.features is None else opinion.features.astype(np.float32)
        for index, (t_ns, is_fresh) in enumerate(zip(times, opinion.fresh.tolist(), strict=True)):
            if not is_fresh:
                yield Prediction(name, t_ns, t_ns, state=ContributorState.ABSENT, reason="nothing_came")
                continue
            yield Prediction(
                name,
                t_ns,
                t_ns,
                state=ContributorState.STALE if is_stale else ContributorState.FRESH,
                probabilities=None if opinion.probabilities is None else opinion.probabilities[index],
                value=None if values is None else values[index],
                std=None if stds is None else stds[index],
                features=None if features is None else features[index],
            )


def recorded(
    moments: Sequence[Moment],
    models: Sequence[str],
    truth: Sequence[int] | Sequence[float],
    groups: Sequence[str],
    *,
    labels: tuple[str, ...] = (),
    unit: str = "",
) -> Record:
    """Make a record of moments as an `Aligner` gives them, and the truth of each."""
    opinions: dict[str, Opinion] = {}
    for index, name in enumerate(models):
        said = [moment.predictions[index] for moment in moments]
        fresh = np.array([one.state is ContributorState.FRESH for one in said], dtype=np.bool_)
        example = next((one for one in said if one.state is ContributorState.FRESH), None)
        if example is None:
            raise CalibrationError(f"Model {name!r} said nothing at all on this data; check its channels and coverage.")
        opinions[name] = Opinion(
            fresh=fresh,
            probabilities=_rows([one.probabilities for one in said], example.probabilities),
            values=None if example.value is None else _numbers([one.value for one in said]),
            stds=None if example.std is None else _numbers([one.std for one in said]),
            features=_rows([one.features for one in said], example.features),
        )
    return Record(
        opinions=opinions,
        truth=np.array(truth, dtype=np.int64) if labels else np.array(truth, dtype=np.float64),
        t_ns=np.array([moment.t_ns for moment in moments], dtype=np.int64),
        groups=np.array(groups, dtype=np.str_),
        labels=labels,
        unit=unit,
    )


def joined(records: Sequence[Record]) -> Record:
    """Several records, one behind the other."""
    first = records[0]
    opinions = {}
    for name in first.models:
        parts = [record.opinions[name] for record in records]
        opinions[name] = Opinion(
            fresh=np.concatenate([part.fresh for part in parts]),
            probabilities=_stack([part.probabilities for part in parts]),
            values=_stack([part.values for part in parts]),
            stds=_stack([part.stds for part in parts]),
            features=_stack([part.features for part in parts]),
        )
    return replace(
        first,
        opinions=opinions,
        truth=np.concatenate([record.truth for record in records]),
        t_ns=np.concatenate([record.t_ns for record in records]),
        groups=np.concatenate([record.groups for record in records]),
    )


def _stack(parts: Sequence[NDArray[np.float64] | None]) -> NDArray[np.float64] | None:
    there = [part for part in parts if part is not None]
    return np.concatenate(there) if len(there) == len(parts) else None


def _rows(
    said: Sequence[NDArray[np.float64] | NDArray[np.float32] | None],
    example: NDArray[np.float64] | NDArray[np.float32] | None,
) -> NDArray[np.float64] | None:
    if example is None:
        return None
    nothing = np.zeros(len(example))
    return np.array([nothing if row is None else row for row in said], dtype=np.float64)


def _numbers(said: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array([0.0 if number is None else number for number in said], dtype=np.float64)
