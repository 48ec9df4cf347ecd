"""The replay: a station's archived samples through the pipeline, beside what was deployed; alike on every engine."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from edge_sdk.base.clock import from_datetime
from edge_sdk.base.errors import ConfigError
from edge_sdk.contract.reading import Reading
from edge_sdk.contract.result import FusedResult
from edge_sdk.contract.trust import PublicKey, Trust
from edge_sdk.fusion.file import FusionSpec, read_fusion
from edge_sdk.inference.model import Model
from edge_sdk.monitor.backtest.tally import Tally
from edge_sdk.runtime.pipeline import Pipeline

SLICE_NS = 10 * 10**9
"""Samples are handed over in blocks of so much event time, as a sensor would."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows of one station's archive, column by column: samples, blocks of samples, and results that were deployed.

    Attributes:
        times_ns: int64; event time of a sample, of a block's first sample, or of a result, since the Unix epoch.
        sensors: Whose samples: a place in `sensor_names`; -1 = a deployed result.
        sensor_names: Each sensor once.
        counts: int64; how many samples a row holds: 1, or those of a block; a result holds none.
        widths: int64; how many numbers a row holds: samples times channels.
        values: float32; the numbers of all rows, one row's after the other's.
        rates_hz: float64; samples a second within a block; NaN for a single sample.
        labels: The truth at that moment, or the deployed label: a place in `label_names`; -1 = none.
        label_names: Each label once.
        confidences: float64; of the deployed label; NaN = none.
        estimates: float64; what was deployed, where that is a value; NaN = none.
    """

    times_ns: NDArray[np.int64]
    sensors: NDArray[np.int64]
    sensor_names: Sequence[str]
    counts: NDArray[np.int64]
    widths: NDArray[np.int64]
    values: NDArray[np.float32]
    rates_hz: NDArray[np.float64]
    labels: NDArray[np.int64]
    label_names: Sequence[str]
    confidences: NDArray[np.float64]
    estimates: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.times_ns)


class Deployed(NamedTuple):
    """A result of the archive: event time, label, its confidence, value."""

    t_ns: int
    label: str | None
    confidence: float | None
    value: float | None


class Said(NamedTuple):
    """One result of the back-test.

    Attributes:
        t_ns: Event time.
        label: The fused label.
        confidence: Its probability.
        value: The fused estimate.
        truth: What was true then, where that is known.
    """

    t_ns: int
    label: str | None
    confidence: float | None
    value: float | None
    truth: str | None


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be tried; small and plain, so that it travels to other machines.

    Attributes:
        bundles: Paths of the new bundles.
        fusion: Path of a fusion file; None = log-opinion pool.
        keys: Public keys whose signatures count, as text.
        allow_unsigned: Accept bundles that nobody signed.
        stream: Only deployed results of this stream are compared; None = all.
        tolerance_s: A deployed result so near in time speaks of the same moment.
        max_age_s: As on the station: how old a prediction may be and still count as stale rather than absent.
    """

    bundles: tuple[str, ...]
    fusion: str | None = None
    keys: tuple[str, ...] = ()
    allow_unsigned: bool = False
    stream: str | None = None
    tolerance_s: float = 0.5
    max_age_s: float = 30.0

    @property
    def trust(self) -> Trust:
        """Whose signatures count."""
        return Trust(tuple(PublicKey.parse(key) for key in self.keys), self.allow_unsigned)


class Bench:
    """The models of a question, opened once for many stations."""

    def __init__(self, question: Question) -> None:
        """Open bundles and fusion.

        Raises:
            BundleError: One must not be used.
            ConfigError: There is none.
        """
        if not question.bundles:
            raise ConfigError("A back-test wants at least one bundle.")
        self.question = question
        self.models = [Model.open(Path(path), trust=question.trust) for path in question.bundles]
        self._fusion: FusionSpec | None = read_fusion(question.fusion, question.trust) if question.fusion else None

    def pipeline(self) -> Pipeline:
        """A new pipeline, as a station would open it."""
        fuser = self._fusion.open() if self._fusion else None
        return Pipeline(self.models, fuser, max_age_s=self.question.max_age_s)


@dataclass(slots=True)
class Replay:
    """One station. Feed its rows, then `finish`.

    Attributes:
        bench: Where the models come from.
        tally: What has been counted.
    """

    bench: Bench
    tally: Tally = field(default_factory=lambda: Tally(stations=1))
    _pipeline: Pipeline = field(init=False)
    _waiting: dict[str, list[Reading]] = field(default_factory=dict)
    _slice: int = -1
    _truth_times: list[int] = field(default_factory=list)
    _truths: list[str] = field(default_factory=list)
    _deployed: list[Deployed] = field(default_factory=list)
    _said: list[Said] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._pipeline = self.bench.pipeline()

    def feed(self, rows: Rows) -> Iterator[Said]:
        """Take rows in any order, no sample earlier than those of the call before; give what they complete."""
        self._hear(rows)
        slices = rows.times_ns // SLICE_NS
        order = np.lexsort((rows.times_ns, rows.sensors, slices))
        order = order[(rows.sensors[order] >= 0) & (rows.widths[order] > 0)]
        if not len(order):
            return
        starts = np.cumsum(rows.widths) - rows.widths
        kinds = (slices[order], rows.sensors[order], np.isnan(rows.rates_hz[order]), rows.widths[order])
        changes = np.any([np.diff(kind) != 0 for kind in kinds], axis=0)
        for part in np.split(order, np.flatnonzero(changes) + 1):
            if slices[part[0]] != self._slice:
                yield from self._push()
                self._slice = int(slices[part[0]])
            name = rows.sensor_names[rows.sensors[part[0]]]
            self._waiting.setdefault(name, []).extend(_readings(name, rows, part, starts))

    def finish(self) -> Iterator[Said]:
        """The archive has ended: give what still waits, and compare."""
        yield from self._push()
        yield from self._take(self._pipeline.flush())
        self._compare()

    def _hear(self, rows: Rows) -> None:
        """Note what was true, and what was deployed."""
        order = np.argsort(rows.times_ns, kind="stable")
        is_truth = (rows.sensors[order] >= 0) & (rows.labels[order] >= 0)
        truths = order[is_truth]
        for at in truths[np.flatnonzero(np.diff(rows.labels[truths], prepend=-1))]:
            label = rows.label_names[rows.labels[at]]
            if not self._truths or self._truths[-1] != label:
                self._truth_times.append(int(rows.times_ns[at]))
                self._truths.append(label)
        for at in order[rows.sensors[order] < 0]:
            self._deployed.append(
                Deployed(
                    int(rows.times_ns[at]),
                    rows.label_names[rows.labels[at]] if rows.labels[at] >= 0 else None,
                    _number(rows.confidences[at]),
                    _number(rows.estimates[at]),
                )
            )

    def _push(self) -> Iterator[Said]:
        for name in sorted(self._waiting):
            for reading in _joined(self._waiting[name]):
                yield from self._take(self._pipeline.push(reading))
        self._waiting.clear()

    def _take(self, results: list[FusedResult]) -> Iterator[Said]:
        for one in results:
            t_ns = from_datetime(one.t)
            said = Said(
                t_ns,
                None if one.label is UNSET else one.label,
                None if one.confidence is UNSET else one.confidence,
                None if one.value is UNSET else one.value,
                self._truth(t_ns),
            )
            self.tally.new.take(said.label, said.confidence, said.value, said.truth)
            self._said.append(said)
            yield said

    def _truth(self, t_ns: int) -> str | None:
        """What was true just before the end of a window."""
        at = bisect_right(self._truth_times, t_ns - 1) - 1
        return self._truths[at] if at >= 0 else None

    def _compare(self) -> None:
        tolerance_ns = round(self.bench.question.tolerance_s * 1e9)
        times = [one.t_ns for one in self._said]
        for one in self._deployed:
            self.tally.deployed.take(one.label, one.confidence, one.value, self._truth(one.t_ns))
            at = bisect_right(times, one.t_ns)
            near = min(self._said[max(0, at - 1) : at + 1], key=lambda said: abs(said.t_ns - one.t_ns), default=None)
            if near is None or abs(near.t_ns - one.t_ns) > tolerance_ns:
                continue
            self.tally.compared += 1
            self.tally.agreed += near.label == one.label
            if near.value is not None and one.value is not None:
                self.tally.apart += abs(near.value - one.value)


def _readings(name: str, rows: Rows, part: NDArray[np.intp], starts: NDArray[np.int64]) -> Iterator[Reading]:
    """Rows of one sensor, alike in shape, as one reading; blocks as one each."""
    first, width = part[0], int(rows.widths[part[0]])
    if np.isnan(rows.rates_hz[first]):
        at = starts[part]
        is_one_piece = len(part) == 1 or bool((np.diff(at) == width).all())
        found = (
            rows.values[at[0] : at[0] + width * len(part)]
            if is_one_piece
            else rows.values[at[:, np.newaxis] + np.arange(width)]
        )
        times_ns = rows.times_ns[part]
        yield Reading(name, found.reshape(len(part), width), start_ns=int(times_ns[0]), times_ns=times_ns)
        return
    for one in part:
        samples = rows.values[starts[one] : starts[one] + width].reshape(int(rows.counts[one]), -1)
        yield Reading(name, samples, start_ns=int(rows.times_ns[one]), rate_hz=float(rows.rates_hz[one]))


def _joined(readings: list[Reading]) -> Iterator[Reading]:
    """Single samples of a slice come as one block, however the archive was cut into pieces."""
    single = [one for one in readings if one.times_ns is not None]
    if len(single) == 1 or len({one.samples.shape[1] for one in single}) > 1:
        yield from single
    elif single:
        times_ns = np.concatenate([one.sample_times_ns for one in single])
        samples = np.concatenate([one.samples for one in single])
        yield Reading(single[0].sensor, samples, start_ns=int(times_ns[0]), times_ns=times_ns)
    yield from (one for one in readings if one.times_ns is None)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
