"""Latency: two models timed in turn, so that whatever else the machine does meets both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

ROUNDS = 7
_ROUND_S = 0.02


def side_by_side(runs: Sequence[Callable[[], object]], *, rounds: int = ROUNDS) -> list[list[float]]:
    """Time each of `runs`, interleaved: A B C, then A B C again.

    Args:
        runs: What to call; each is warmed up first.
        rounds: How often each gets its turn; a turn is as many calls as fit into 20 ms, at least 3.

    Returns:
        For each, the time of every single call in milliseconds.
    """
    calls = []
    for run in runs:
        for _ in range(3):
            run()
        begun = time.perf_counter()
        run()
        calls.append(max(3, min(2000, int(_ROUND_S / max(1e-7, time.perf_counter() - begun)))))
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for run, n_calls, found in zip(runs, calls, times, strict=True):
            for _ in range(n_calls):
                begun = time.perf_counter_ns()
                run()
                found.append((time.perf_counter_ns() - begun) / 1e6)
    return times


def median_ms(times: Sequence[float]) -> float:
    """The p50, in milliseconds."""
    return statistics.median(times)
