"""The tally: how a back-test's results stand to the truth and to what was deployed. Adds up over stations."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from edge_sdk.monitor.alerts.drift import population_stability

BINS = 50
"""Confidence is counted in so many bins: distances between distributions are known to a fiftieth."""


class Side(msgspec.Struct, kw_only=True):
    """One of the two that are compared: what the new bundle says, or what was deployed.

    Attributes:
        results: How many results.
        labelled: How many of them fall on a moment whose truth is known.
        right: How many of those say the true label.
        error: Sum of the distances from the true value (regression).
        labels: How often each label; an empty one is no answer.
        confidence: Results by confidence, in `BINS` bins.
    """

    results: int = 0
    labelled: int = 0
    right: int = 0
    error: float = 0.0
    labels: dict[str, int] = {}
    confidence: list[int] = msgspec.field(default_factory=lambda: [0] * BINS)

    def take(self, label: str | None, confidence: float | None, value: float | None, truth: str | None) -> None:
        """Count one result."""
        self.results += 1
        if value is None:
            self.labels[label or ""] = self.labels.get(label or "", 0) + 1
        if confidence is not None:
            self.confidence[min(BINS - 1, int(confidence * BINS))] += 1
        if truth is not None:
            self.labelled += 1
            self.right += label == truth
            if value is not None:
                self.error += abs(value - float(truth))

    def add(self, other: Side) -> None:
        """Another part of the same side."""
        self.results += other.results
        self.labelled += other.labelled
        self.right += other.right
        self.error += other.error
        for label, count in other.labels.items():
            self.labels[label] = self.labels.get(label, 0) + count
        self.confidence = [mine + its for mine, its in zip(self.confidence, other.confidence, strict=True)]


class Tally(msgspec.Struct, kw_only=True):
    """Both sides, and where they meet.

    Attributes:
        stations: How many stations.
        new: The new bundle's results.
        deployed: What was deployed.
        compared: How many moments both speak of.
        agreed: On how many of those they say the same label.
        apart: Sum of the distances between their values (regression).
    """

    stations: int = 0
    new: Side = msgspec.field(default_factory=Side)
    deployed: Side = msgspec.field(default_factory=Side)
    compared: int = 0
    agreed: int = 0
    apart: float = 0.0

    def add(self, other: Tally) -> None:
        """Another station's, or many stations'."""
        self.stations += other.stations
        self.new.add(other.new)
        self.deployed.add(other.deployed)
        self.compared += other.compared
        self.agreed += other.agreed
        self.apart += other.apart

    def report(self) -> dict[str, int | float | None]:
        """The numbers a person asks for; None = cannot be said."""
        is_regression = not self.new.labels
        return {
            "stations": self.stations,
            "results": self.new.results,
            "deployed_results": self.deployed.results,
            "labelled": self.new.labelled,
            "accuracy": None if is_regression else _share(self.new.right, self.new.labelled),
            "deployed_accuracy": None if is_regression else _share(self.deployed.right, self.deployed.labelled),
            "mean_error": _share(self.new.error, self.new.labelled) if is_regression else None,
            "deployed_mean_error": _share(self.deployed.error, self.deployed.labelled) if is_regression else None,
            "compared": self.compared,
            "agreement": None if is_regression else _share(self.agreed, self.compared),
            "mean_distance": _share(self.apart, self.compared) if is_regression else None,
            "label_drift_psi": _psi(self.deployed.labels, self.new.labels),
            "confidence_drift_ks": _ks(self.deployed.confidence, self.new.confidence),
        }


def _share(part: float, whole: int) -> float | None:
    return part / whole if whole else None


def _psi(before: Mapping[str, int], now: Mapping[str, int]) -> float | None:
    return population_stability(before, now) if before and now else None


def _ks(before: list[int], now: list[int]) -> float | None:
    if not sum(before) or not sum(now):
        return None
    distance = first = second = 0.0
    for was, is_ in zip(before, now, strict=True):
        first += was / sum(before)
        second += is_ / sum(now)
        distance = max(distance, abs(first - second))
    return distance
