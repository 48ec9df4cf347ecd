"""Overload: what is given up when more windows wait than can be predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Overload:
    """A stream's policy; windows are always cut, and only what waits when the models are free again is thinned out.

    Moments are kept or given up whole: all models' windows that end at one event time, and never one that is newer
    than the newest moment for which every waiting model has a window.

    Attributes:
        policy: ``wait``: sensors wait, nothing is given up. ``latest``: of the windows that wait, the newest.
            ``every_nth``: every n-th of them, and the newest. ``queue``: the newest n of them.
        n: The n of ``every_nth`` and ``queue``.
    """

    policy: Literal["wait", "latest", "every_nth", "queue"] = "wait"
    n: int = 16

    def wanted(self, waiting: Sequence[tuple[str, int]]) -> set[int]:
        """Which moments are worth predicting.

        Args:
            waiting: Model and event time of the end, nanoseconds, of each window that waits.
        """
        moments = sorted({end_ns for _, end_ns in waiting})
        if self.policy == "wait" or len(moments) < 2:
            return set(moments)
        by_moment: dict[int, set[str]] = {}
        for model, end_ns in waiting:
            by_moment.setdefault(end_ns, set()).add(model)
        models = {model for model, _ in waiting}
        whole = [index for index, end_ns in enumerate(moments) if by_moment[end_ns] == models]
        newest = whole[-1] if whole else len(moments) - 1
        settled, still_coming = moments[: newest + 1], moments[newest + 1 :]
        if self.policy == "latest":
            kept = settled[-1:]
        elif self.policy == "queue":
            kept = settled[-self.n :]
        else:
            kept = [*settled[:-1][:: self.n], settled[-1]]
        return {*kept, *still_coming}
