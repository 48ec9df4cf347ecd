"""The plan: how many threads each model gets, and which models run side by side, from a short measurement."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

import msgspec
import numpy as np

from edge_sdk.inference.model import Model

TINY_S = 1e-3
"""A call shorter than this is made where its window was cut: handing it over would cost about a tenth of it."""

_WORTH = 0.6  # a model gets t threads only if they make it at least 0.6 · t times as fast
_MEASURE_S = 0.05
_MOST_CALLS = 20


class ModelPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What one model is given.

    Attributes:
        model: The model's name.
        threads: Threads for one call.
        pooled: Whether it runs beside other models rather than in turn with them.
        seconds: Median time of one call, by number of threads, as far as it was measured.
    """

    model: str
    threads: int
    pooled: bool
    seconds: dict[int, float]

    @classmethod
    def fixed(cls, model: str, seconds: Mapping[int, float]) -> ModelPlan:
        """Of a model whose threads are configured: `seconds` has that one number of threads."""
        ((threads, taken),) = seconds.items()
        return cls(model=model, threads=threads, pooled=taken >= TINY_S, seconds=dict(seconds))


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def measure(model: Model) -> float:
    """Median time of one call, seconds: zeros in, at most 20 calls or 50 ms of them after a first one to warm up."""
    inputs = [np.zeros(spec.shape, np.float32) for spec in model.backend.variant.inputs]
    model.backend.run(inputs)
    taken: list[float] = []
    while len(taken) < _MOST_CALLS and (sum(taken) < _MEASURE_S or not taken):
        begun = time.perf_counter()
        model.backend.run(inputs)
        taken.append(time.perf_counter() - begun)
    return sorted(taken)[len(taken) // 2]


def share(single_s: Mapping[str, float], *, cores: int) -> int:
    """How many threads one large model may have when all large ones run at once.

    Args:
        single_s: Time of one call with one thread, by model name.
        cores: How many cores there are.
    """
    large = sum(seconds >= TINY_S for seconds in single_s.values())
    return max(1, cores // max(1, large))


def plan(seconds: Mapping[str, Mapping[int, float]], *, cores: int) -> dict[str, ModelPlan]:
    """Give every model its threads; together, large models never have more threads than there are cores.

    Args:
        seconds: Time of one call by number of threads, by model name; what was measured with one thread must be there.
        cores: How many cores there are.
    """
    single = {name: by_threads[1] for name, by_threads in seconds.items()}
    most = share(single, cores=cores)
    plans = {}
    for name, by_threads in seconds.items():
        pooled = single[name] >= TINY_S
        worth = [n for n, taken in by_threads.items() if n <= most and single[name] / taken >= _WORTH * n]
        plans[name] = ModelPlan(
            model=name,
            threads=max(worth, default=1) if pooled else 1,
            pooled=pooled,
            seconds=dict(sorted(by_threads.items())),
        )
    return plans
