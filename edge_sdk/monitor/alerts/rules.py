"""Rules: what is worth waking somebody for, as declared in ``monitor.yaml``; judged without clock or I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from fnmatch import fnmatchcase

import msgspec

from edge_sdk.base.ids import check_id
from edge_sdk.contract.events import Severity
from edge_sdk.monitor.alerts.around import Around
from edge_sdk.monitor.store.views import Latest, StationView

_ALONE = Around()


class When(str, Enum):
    """What a rule looks at."""

    SILENT = "silent"
    """The station should be online and says nothing."""
    OFFLINE = "offline"
    """The broker says it is gone, or it said so itself."""
    LABEL = "label"
    """The fused label is one of `labels`."""
    VALUE_ABOVE = "value_above"
    VALUE_BELOW = "value_below"
    CONFIDENCE_BELOW = "confidence_below"
    DEGRADED = "degraded"
    """A contributor is stale, absent, rejected or failed."""
    BACKLOG_ABOVE = "backlog_above"
    """Results wait on the station."""
    TEMPERATURE_ABOVE = "temperature_above"
    """Of the processor, in °C."""
    FALLBACK = "fallback"
    """A delegate or execution provider that was asked for is not in use."""
    SENSORS_DISAGREE = "sensors_disagree"
    """Over `window_s`, this share of single sensors' labels is not the fused one; of values, their mean spread."""
    NEIGHBOURS_DISAGREE = "neighbours_disagree"
    """This share of the site's other stations agrees on another label; of values, the distance from their median."""
    LABEL_DRIFT = "label_drift"
    """Population stability index of fused labels, `window_s` against `reference_s` before; 0.25 is another world."""
    CONFIDENCE_DRIFT = "confidence_drift"
    """Kolmogorov-Smirnov distance of contributors' confidence, likewise; what chance explains counts as 0."""
    INPUT_DRIFT = "input_drift"
    """The same of what models are given: mean and spread of each channel of their windows, as health tells them."""


SURVEYED = {When.SENSORS_DISAGREE, When.LABEL_DRIFT, When.CONFIDENCE_DRIFT, When.INPUT_DRIFT}
"""What one result cannot answer: see `Survey`."""
_BELOW = {When.VALUE_BELOW, When.CONFIDENCE_BELOW}
_WITH_THRESHOLD = {
    *SURVEYED,
    *_BELOW,
    When.NEIGHBOURS_DISAGREE,
    When.VALUE_ABOVE,
    When.BACKLOG_ABOVE,
    When.TEMPERATURE_ABOVE,
}


class NotKnown(Exception):  # noqa: N818 - not an error: an answer
    """A rule cannot be judged yet: what it said last stays."""


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule.

    Attributes:
        name: An id.
        when: What it looks at.
        threshold: The bound, for rules that have one.
        clear: Hysteresis: an alert that fires goes out only beyond this bound; None = `threshold`.
        labels: Of `label` rules.
        stream: Only this stream; None = any of the station's.
        window_s: Of drift and disagreement: the stretch that is looked at, up to the newest result.
        reference_s: Of drift: the stretch before it that it is compared with.
        for_s: The condition must hold so long before the alert fires, and be gone so long before it goes out.
        sites: Only sites that match one of these patterns (``*`` and ``?``).
        stations: Only stations that match one of these patterns.
        severity: ``info``, ``warning`` or ``error``.
        sinks: Names of the sinks to tell; empty = all.
    """

    name: str
    when: When
    threshold: float | None = None
    clear: float | None = None
    labels: tuple[str, ...] = ()
    stream: str | None = None
    window_s: float = 3600.0
    reference_s: float = 604_800.0
    for_s: float = 0.0
    sites: tuple[str, ...] = ("*",)
    stations: tuple[str, ...] = ("*",)
    severity: Severity = Severity.WARNING
    sinks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_id("rule", self.name)
        if (self.threshold is not None) != (self.when in _WITH_THRESHOLD):
            wants = "a threshold" if self.when in _WITH_THRESHOLD else "no threshold"
            raise ValueError(f"Rule {self.name!r} ({self.when.value}) wants {wants}")
        if bool(self.labels) != (self.when is When.LABEL):
            wants = "labels" if self.when is When.LABEL else "no labels"
            raise ValueError(f"Rule {self.name!r} ({self.when.value}) wants {wants}")
        if self.clear is not None and self.threshold is not None and self.clear != self.threshold:
            wrong = (self.clear < self.threshold) is (self.when in _BELOW)
            if wrong:
                raise ValueError(f"Rule {self.name!r}: clear is on the wrong side of threshold")
        if self.window_s <= 0 or self.reference_s <= 0:
            raise ValueError(f"Rule {self.name!r}: window_s and reference_s are wanted above 0")
        if self.for_s < 0:
            raise ValueError(f"Rule {self.name!r}: for_s is {self.for_s}, wanted is 0 or more")

    def covers(self, view: StationView) -> bool:
        """Whether the rule is meant for this station."""
        return any(fnmatchcase(view.site, one) for one in self.sites) and any(
            fnmatchcase(view.station, one) for one in self.stations
        )

    def judge(self, view: StationView, *, fires: bool, around: Around = _ALONE) -> str | None:
        """Why the condition holds now, for a person; None = it does not.

        Args:
            view: What is known of the station.
            fires: Whether the alert fires already: then `clear` is the bound.
            around: What is known beside it.

        Raises:
            NotKnown: The survey has not come by yet.
        """
        bound = self.clear if fires and self.clear is not None else self.threshold
        if self.when in SURVEYED:
            return self._surveyed(view, bound or 0.0, around)
        if self.when is When.NEIGHBOURS_DISAGREE:
            return self._apart(view, bound or 0.0, around)
        return _JUDGES[self.when](self, view, 0.0 if bound is None else bound)

    def _surveyed(self, view: StationView, bound: float, around: Around) -> str | None:
        found = around.signs.get((self.name, view.site, view.station))
        if found is None:
            raise NotKnown
        return found.why if found.level > bound else None

    def _apart(self, view: StationView, bound: float, around: Around) -> str | None:
        if view.state != "online":
            return None
        for one in _streams(self, view):
            if one.label is not None:
                label, share = around.neighbours.other_label(view.site, one)
                if share > bound:
                    return f"{one.stream} is {one.label}, {share:.0%} of its neighbours say {label}"
            elif (distance := around.neighbours.distance(view.site, one)) > bound:
                return f"{one.stream} is {one.value:g} {one.unit or ''}, {distance:.3g} from its neighbours' middle"
        return None


def _streams(rule: Rule, view: StationView) -> Iterable[Latest]:
    return (one for one in view.streams if rule.stream in {None, one.stream})


def _silent(rule: Rule, view: StationView, bound: float) -> str | None:
    return "says nothing" if view.state == "silent" else None


def _offline(rule: Rule, view: StationView, bound: float) -> str | None:
    return f"is {view.state}" if view.state in {"offline", "stopping"} else None


def _label(rule: Rule, view: StationView, bound: float) -> str | None:
    return next((f"{one.stream} is {one.label}" for one in _streams(rule, view) if one.label in rule.labels), None)


def _value(rule: Rule, view: StationView, bound: float) -> str | None:
    above = rule.when is When.VALUE_ABOVE
    for one in _streams(rule, view):
        if one.value is not None and (one.value > bound if above else one.value < bound):
            return f"{one.stream} is {one.value:g} {one.unit or ''}".rstrip()
    return None


def _confidence(rule: Rule, view: StationView, bound: float) -> str | None:
    for one in _streams(rule, view):
        if one.confidence is not None and one.confidence < bound:
            return f"{one.stream} has confidence {one.confidence:.2f}"
    return None


def _degraded(rule: Rule, view: StationView, bound: float) -> str | None:
    return next((f"{one.stream} lacks a sensor" for one in _streams(rule, view) if one.degraded), None)


def _backlog(rule: Rule, view: StationView, bound: float) -> str | None:
    return f"{view.backlog} results wait" if view.backlog is not None and view.backlog > bound else None


def _temperature(rule: Rule, view: StationView, bound: float) -> str | None:
    hot = view.temperature_c
    return f"processor at {hot:.0f} °C" if hot is not None and hot > bound else None


def _fallback(rule: Rule, view: StationView, bound: float) -> str | None:
    return f"not in use: {view.fallback}" if view.fallback else None


_JUDGES: dict[When, Callable[[Rule, StationView, float], str | None]] = {
    When.SILENT: _silent,
    When.OFFLINE: _offline,
    When.LABEL: _label,
    When.VALUE_ABOVE: _value,
    When.VALUE_BELOW: _value,
    When.CONFIDENCE_BELOW: _confidence,
    When.DEGRADED: _degraded,
    When.BACKLOG_ABOVE: _backlog,
    When.TEMPERATURE_ABOVE: _temperature,
    When.FALLBACK: _fallback,
}
