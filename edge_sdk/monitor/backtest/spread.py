"""Which stations go together, so that no worker waits for another."""

from __future__ import annotations

import heapq
from collections.abc import Mapping


def spread(sizes: Mapping[tuple[str, str], int], tasks: int) -> dict[tuple[str, str], int]:
    """The task of each station, so that tasks are alike in size and task 0 has most.

    The largest station that is left goes to the task that has least: Graham, Bounds on Multiprocessing Timing
    Anomalies, SIAM Journal on Applied Mathematics 17 (1969). The fullest task has at most 4/3 of what the best division
    would give it.

    Args:
        sizes: Rows of each station, by site and name.
        tasks: How many tasks at most; no task is left without a station.
    """
    loads = [(0, task) for task in range(min(tasks, len(sizes)))]
    found: dict[tuple[str, str], int] = {}
    for one in sorted(sizes, key=lambda one: (-sizes[one], one)):
        load, task = heapq.heappop(loads)
        found[one] = task
        heapq.heappush(loads, (load + sizes[one], task))
    places = {task: place for place, (_, task) in enumerate(sorted(loads, key=lambda each: (-each[0], each[1])))}
    return {one: places[task] for one, task in found.items()}
