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


class Row(NamedTuple):
    """One row of a station's archive, in order of time: a sample, or a result that was deployed.

    Attributes:
        t_ns: Event time, nanoseconds since the Unix epoch.
        sensor: Whose sample; None = a deployed result.
        values: The sample, one number a channel.
        label: The truth at that moment, or the deployed label.
        confidence: Of the deployed label.
        value: The deployed estimate.
    """

    t_ns: int
    sensor: str | None
    values: Sequence[float] | NDArray[np.float32] | None = None
    label: str | None = None
    confidence: float | None = None
    value: float | None = None


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
    """One station. Feed its rows in order of time, then `finish`.

    Attributes:
        bench: Where the models come from.
        tally: What has been counted.
    """

    bench: Bench
    tally: Tally = field(default_factory=lambda: Tally(stations=1))
    _pipeline: Pipeline = field(init=False)
    _block: dict[str, list[Row]] = field(default_factory=dict)
    _slice: int = -1
    _truth_times: list[int] = field(default_factory=list)
    _truths: list[str] = field(default_factory=list)
    _deployed: list[Row] = field(default_factory=list)
    _said: list[Said] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._pipeline = self.bench.pipeline()

    def feed(self, rows: Iterator[Row]) -> Iterator[Said]:
        """Take rows; give the results that they complete."""
        for row in rows:
            if row.sensor is None:
                self._deployed.append(row)
                continue
            if row.t_ns // SLICE_NS != self._slice:
                yield from self._push()
                self._slice = row.t_ns // SLICE_NS
            self._block.setdefault(row.sensor, []).append(row)
            if row.label is not None and (not self._truths or self._truths[-1] != row.label):
                self._truth_times.append(row.t_ns)
                self._truths.append(row.label)

    def finish(self) -> Iterator[Said]:
        """The archive has ended: give what still waits, and compare."""
        yield from self._push()
        yield from self._take(self._pipeline.flush())
        self._compare()

    def _push(self) -> Iterator[Said]:
        for sensor, rows in self._block.items():
            samples = np.array([row.values for row in rows], dtype=np.float32)
            times_ns = np.array([row.t_ns for row in rows], dtype=np.int64)
            reading = Reading(sensor, samples, start_ns=int(times_ns[0]), times_ns=times_ns)
            yield from self._take(self._pipeline.push(reading))
        self._block.clear()

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
