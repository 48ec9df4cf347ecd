"""The score: what the monitor's store holds, judged against the truth and against what the stations accepted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from edge_sdk.contract.result import FusedResult
from edge_sdk.demo.exercises import SENSORS
from edge_sdk.demo.people import Person
from edge_sdk.monitor.store.views import StoredResult

FUSED = "fused"


@dataclass(frozen=True, slots=True)
class Accuracy:
    """A share of right answers.

    Attributes:
        value: The share.
        low: Lower end of its 95 % interval.
        high: Upper end.
        n: Number of answers.
    """

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, right: int, n: int) -> Accuracy:
        """Share and Wilson interval (Wilson 1927); without answers everything is 0."""
        if n == 0:
            return cls(0.0, 0.0, 0.0, 0)
        z, p = 1.959964, right / n
        centre, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        scale = 1 + z * z / n
        return cls(p, (centre - spread) / scale, (centre + spread) / scale, n)


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """What ``edge-sdk demo --json`` writes.

    Attributes:
        accuracy: Of each sensor alone, and fused, on unseen people; over the windows that both could answer.
        accuracy_interval: 95 % intervals of the same.
        windows: Number of windows that they are measured on.
        results: made (accepted by the stations' outboxes), stored, lost, duplicated; and how many waited in a backlog.
        latency_ms: From a window's last sample at the station to the monitor's commit: over all results, the broker's
            absence included; ``live_p50`` and ``live_p99`` over those that did not have to wait for it.
        bundles: Each variant: name, format, precision, bytes, accuracy of float and of the variant, its interval.
        seconds: How long the stations ran.
        broker: Which broker it was.
    """

    accuracy: dict[str, float]
    accuracy_interval: dict[str, tuple[float, float]]
    windows: int
    results: dict[str, int]
    latency_ms: dict[str, float]
    bundles: list[dict[str, Any]]
    seconds: float
    broker: str

    @property
    def holds(self) -> bool:
        """Whether nothing was lost or doubled, and fusion beats the best single sensor."""
        best = max(value for name, value in self.accuracy.items() if name != FUSED)
        return not (self.results["lost"] or self.results["duplicated"]) and self.accuracy[FUSED] > best


def judge(
    stored: Sequence[StoredResult],
    people: Sequence[Person],
    *,
    start_ns: Mapping[str, int],
    accepted: Mapping[str, int],
    epochs: Mapping[str, str],
    bundles: list[dict[str, Any]],
    seconds: float,
    broker: str,
) -> Score:
    """Judge a run.

    Args:
        stored: Everything in the monitor's store.
        people: The stations.
        start_ns: Event time of each station's first sample.
        accepted: Highest sequence number that each station's outbox ever gave: what it accepted.
        epochs: The epoch of each station's outbox.
        bundles: Rows for the table of bundles.
        seconds: How long the stations ran.
        broker: Which broker it was.
    """
    answers = _answers(stored, {person.station: person for person in people}, start_ns)
    accuracy = {name: Accuracy.of(sum(right), len(right)) for name, right in answers.items()}
    keys = {(row.station, row.epoch, row.seq) for row in stored}
    wanted = {(name, epochs[name], seq) for name, newest in accepted.items() for seq in range(1, newest + 1)}
    moments = {(row.station, row.t_ns) for row in stored}
    return Score(
        accuracy={name: round(one.value, 4) for name, one in accuracy.items()},
        accuracy_interval={name: (round(one.low, 4), round(one.high, 4)) for name, one in accuracy.items()},
        windows=len(answers[FUSED]),
        results={
            "made": len(wanted),
            "stored": len(stored),
            "lost": len(wanted - keys),
            "duplicated": len(stored) - len(moments),
            "backlog": sum(row.backlog for row in stored),
        },
        latency_ms=_latency(stored),
        bundles=bundles,
        seconds=round(seconds, 1),
        broker=broker,
    )


def _answers(
    stored: Sequence[StoredResult], people: Mapping[str, Person], start_ns: Mapping[str, int]
) -> dict[str, list[bool]]:
    """Right or wrong, for each sensor and fused, over the windows with a truth and an answer of everybody."""
    right: dict[str, list[bool]] = {name: [] for name in (*SENSORS, FUSED)}
    for row in stored:
        truth = people[row.station].timeline.truth((row.t_ns - start_ns[row.station]) / 1e9)
        result = msgspec.json.decode(row.body, type=FusedResult)
        labels = {contributor.model: contributor.label for contributor in result.contributors}
        if truth is None or result.absent or result.label is msgspec.UNSET:
            continue
        right[FUSED].append(result.label == truth)
        for name in SENSORS:
            right[name].append(labels[name] == truth)
    return right


def _latency(stored: Sequence[StoredResult]) -> dict[str, float]:
    def percentiles(rows: Sequence[StoredResult], prefix: str) -> dict[str, float]:
        if not rows:
            return {}
        took = np.array([row.stored_ns - row.observed_ns for row in rows]) / 1e6
        p50, p99 = np.percentile(took, [50, 99])
        return {f"{prefix}p50": round(float(p50), 2), f"{prefix}p99": round(float(p99), 2)}

    return percentiles(stored, "") | percentiles([row for row in stored if not row.backlog], "live_")
