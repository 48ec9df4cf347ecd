"""Counters: everything that happened, and everything that was given up, by dotted name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping


class Counters:
    """Counts by dotted name; only ever grows."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def count(self, name: str, by: int = 1) -> None:
        """Add to one counter."""
        if by:
            self._counts[name] += by

    def all(self, *others: Mapping[str, int]) -> dict[str, int]:
        """Everything counted here and in `others`, sorted by name."""
        total = Counter(self._counts)
        for other in others:
            total.update(other)
        return dict(sorted(total.items()))
