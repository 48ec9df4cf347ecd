"""What a rule may know beside the station itself: its neighbours, and what the survey found of its past."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median

from edge_sdk.monitor.store.views import Latest, StationView

ENOUGH = 3
"""So many neighbours must speak before anybody can stand apart from them."""


class Neighbours:
    """The newest results of stations of one site, by stream; only of those that are online."""

    def __init__(self, stations: Iterable[StationView]) -> None:
        self._labels: dict[tuple[str, str], Counter[str]] = {}
        self._values: dict[tuple[str, str], list[float]] = {}
        for view in stations:
            if view.state != "online":
                continue
            for one in view.streams:
                if one.label is not None:
                    self._labels.setdefault((view.site, one.stream), Counter())[one.label] += 1
                elif one.value is not None:
                    self._values.setdefault((view.site, one.stream), []).append(one.value)

    def other_label(self, site: str, one: Latest) -> tuple[str, float]:
        """The label that most neighbours agree on against this one, and their share of all neighbours."""
        labels = self._labels.get((site, one.stream), Counter())
        others = sum(labels.values()) - 1  # without itself
        against = [(count, label) for label, count in labels.items() if label != one.label]
        if others < ENOUGH or not against:
            return "", 0.0
        count, label = max(against)
        return label, count / others

    def distance(self, site: str, one: Latest) -> float:
        """How far this value is from the middle of the neighbours'."""
        values = list(self._values.get((site, one.stream), ()))
        if one.value is None or one.value not in values:
            return 0.0
        values.remove(one.value)
        return abs(one.value - median(values)) if len(values) >= ENOUGH else 0.0


@dataclass(frozen=True, slots=True)
class Signs:
    """What the survey found of one rule at one station: a number, 0 = nothing, and what it is.

    Attributes:
        level: The greatest over the station's streams.
        why: For a person.
    """

    level: float
    why: str


@dataclass(frozen=True, slots=True)
class Around:
    """Given to rules when they are judged.

    Attributes:
        neighbours: Stations of the same sites.
        signs: By rule, site and station; a rule of the survey that is not there is not known yet.
    """

    neighbours: Neighbours = field(default_factory=lambda: Neighbours(()))
    signs: Mapping[tuple[str, str, str], Signs] = field(default_factory=dict)
