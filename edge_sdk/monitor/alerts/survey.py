"""The survey: reads what stations said over hours and days, for rules that one result cannot answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from msgspec import UNSET

from edge_sdk.contract.events import InputSummary
from edge_sdk.contract.prediction import ContributorState
from edge_sdk.contract.result import FusedResult
from edge_sdk.monitor.alerts.around import Signs
from edge_sdk.monitor.alerts.drift import by_chance, kolmogorov_smirnov, population_stability
from edge_sdk.monitor.alerts.rules import SURVEYED, Rule, When
from edge_sdk.monitor.store.reader import StoreReader
from edge_sdk.monitor.store.views import StationView

SAMPLES = 200
"""So many whole results of a stretch are looked at."""
ENOUGH = 40
"""With fewer results on either side nothing is said of drift."""
A_FEW = 10
"""With fewer nothing is said of disagreement."""


@dataclass(slots=True)
class Survey:
    """Answers the rules of `SURVEYED` for every station they cover. Blocking; the caller brings a thread.

    Attributes:
        reader: The store; of its own, so that the page never waits.
        rules: All rules; those of no concern here are passed over.
        signs: What was found last, by rule, site and station.
    """

    reader: StoreReader
    rules: Sequence[Rule]
    signs: dict[tuple[str, str, str], Signs] = field(default_factory=dict)

    @property
    def is_needed(self) -> bool:
        """Whether there is a rule to answer."""
        return any(rule.when in SURVEYED for rule in self.rules)

    def look(self, stations: Iterable[StationView]) -> None:
        """Answer anew; a station without enough results gets no sign."""
        for view in stations:
            for rule in self.rules:
                if rule.when in SURVEYED and rule.covers(view):
                    found = [one for one in self._streams(rule, view) if one is not None]
                    if found:
                        self.signs[rule.name, view.site, view.station] = max(found, key=lambda one: one.level)

    def _streams(self, rule: Rule, view: StationView) -> Iterable[Signs | None]:
        if rule.when is When.INPUT_DRIFT:
            yield self._inputs(rule, view)
            return
        for latest in view.streams:
            if rule.stream in {None, latest.stream}:
                window = (latest.t_ns - round(rule.window_s * 1e9), latest.t_ns + 1)
                before = (window[0] - round(rule.reference_s * 1e9), window[0])
                if rule.when is When.SENSORS_DISAGREE:
                    yield _disagreement(latest.stream, self._results(view, latest.stream, window))
                elif rule.when is When.CONFIDENCE_DRIFT:
                    parts = (self._results(view, latest.stream, span) for span in (before, window))
                    yield _confidence(latest.stream, *map(_confidences, parts))
                else:
                    counts = (
                        self.reader.label_counts(view.site, view.station, latest.stream, start_ns=low, end_ns=high)
                        for low, high in (before, window)
                    )
                    yield _labels(latest.stream, *counts)

    def _inputs(self, rule: Rule, view: StationView) -> Signs | None:
        newest_ns = self.reader.newest_health_ns(view.site, view.station)
        if newest_ns is None:
            return None
        window = (newest_ns - round(rule.window_s * 1e9), newest_ns + 1)
        before = (window[0] - round(rule.reference_s * 1e9), window[0])
        was, is_ = (
            _numbers(
                self.reader.inputs(view.site, view.station, start_ns=max(0, low), end_ns=max(0, high), picks=SAMPLES),
                rule.stream,
            )
            for low, high in (before, window)
        )
        return input_drift(was, is_)

    def _results(self, view: StationView, stream: str, span: tuple[int, int]) -> list[FusedResult]:
        picked = self.reader.picks(
            view.site, view.station, stream, start_ns=max(0, span[0]), end_ns=span[1], picks=SAMPLES
        )
        return [one.result for one in picked]


def _disagreement(stream: str, results: Sequence[FusedResult]) -> Signs | None:
    """The share of fresh contributors that say another label than the fused one; of values, how far they lie apart."""
    shares, spreads, unit = [], [], ""
    for one in results:
        fresh = [part for part in one.contributors if part.state is ContributorState.FRESH]
        values = [part.value for part in fresh if part.value is not UNSET]
        if one.label is not UNSET and len(fresh) > 1:
            shares.append(sum(part.label != one.label for part in fresh) / len(fresh))
        elif len(values) > 1:
            spreads.append(max(values) - min(values))
            unit = "" if one.unit is UNSET else one.unit
    if len(shares) >= A_FEW:
        level = sum(shares) / len(shares)
        return Signs(level, f"{stream}: {level:.0%} of what single sensors say is not the fused label")
    if len(spreads) >= A_FEW:
        level = sum(spreads) / len(spreads)
        return Signs(level, f"{stream}: sensors lie {level:.3g} {unit} apart".replace("  ", " "))
    return None


def _confidences(results: Iterable[FusedResult]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for one in results:
        for part in one.contributors:
            if part.state is ContributorState.FRESH and part.confidence is not UNSET:
                found.setdefault(part.model, []).append(part.confidence)
    return found


def _confidence(stream: str, before: dict[str, list[float]], now: dict[str, list[float]]) -> Signs | None:
    """The Kolmogorov-Smirnov distance of each contributor's confidence; what chance explains is none."""
    found = []
    for model in before.keys() & now.keys():
        was, is_ = before[model], now[model]
        if min(len(was), len(is_)) < ENOUGH:
            continue
        distance = kolmogorov_smirnov(was, is_)
        level = distance if distance > by_chance(len(was), len(is_)) else 0.0
        means = f"mean {sum(was) / len(was):.2f} before, {sum(is_) / len(is_):.2f} now"
        found.append(Signs(level, f"{stream}: confidence of {model} has moved by {distance:.2f} (KS; {means})"))
    return max(found, key=lambda one: one.level, default=None)


def _numbers(told: Iterable[dict[str, InputSummary]], stream: str | None) -> dict[str, list[float]]:
    """Mean and spread over time, by model and channel; a window that was told twice counts once."""
    found: dict[str, list[float]] = {}
    last: dict[str, datetime] = {}
    for one in told:
        for model, said in one.items():
            if (stream is None or model.startswith(f"{stream}.")) and last.get(model) != said.t:
                last[model] = said.t
                for what, values in (("mean", said.mean), ("spread", said.spread)):
                    for channel, value in enumerate(values, start=1):
                        found.setdefault(f"{what} of channel {channel} of {model}", []).append(value)
    return found


def input_drift(before: dict[str, list[float]], now: dict[str, list[float]]) -> Signs | None:
    """The greatest Kolmogorov-Smirnov distance of one of these numbers; what chance explains is none."""
    pairs = [
        (name, before[name], now[name])
        for name in sorted(before.keys() & now.keys())
        if min(len(before[name]), len(now[name])) >= ENOUGH
    ]
    found = []
    for name, was, is_ in pairs:
        distance = kolmogorov_smirnov(was, is_)
        level = distance if distance > by_chance(len(was), len(is_), of=len(pairs)) else 0.0
        moved = f"{sum(was) / len(was):.3g} before, {sum(is_) / len(is_):.3g} now"
        found.append(Signs(level, f"inputs: {name} has moved by {distance:.2f} (KS; {moved})"))
    return max(found, key=lambda one: one.level, default=None)


def _labels(stream: str, before: dict[str, int], now: dict[str, int]) -> Signs | None:
    """The population stability index of the fused labels."""
    if min(sum(before.values()), sum(now.values())) < ENOUGH:
        return None
    level = population_stability(before, now)
    total_before, total_now = sum(before.values()), sum(now.values())
    shares = {
        label: (before.get(label, 0) / total_before, now.get(label, 0) / total_now)
        for label in before.keys() | now.keys()
    }
    most = max(shares, key=lambda label: (round(abs(shares[label][1] - shares[label][0]), 9), shares[label][1], label))
    was, is_ = shares[most]
    moved = f"{most or 'no answer'} {was:.0%} before, {is_:.0%} now"
    return Signs(level, f"{stream}: labels have moved by {level:.2f} (PSI; {moved})")
