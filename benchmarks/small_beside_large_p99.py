"""A small model's latency while a large one works all the time in another stream, beside its latency alone."""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from benchmarks._mobilenet import images, mobilenets, reading
from benchmarks._models import blocks, readings, three_small
from edge_sdk.base.clock import SystemClock
from edge_sdk.contract.reading import Reading
from edge_sdk.inference.model import Model
from edge_sdk.runtime.budget import Budget
from edge_sdk.runtime.pipeline import Pipeline
from edge_sdk.runtime.plan import measure, plan
from edge_sdk.runtime.scheduler import Scheduler

ROUNDS = 7
SECONDS = 300.0
PAUSE_S = 0.001


def main() -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        small = Model.open(three_small(directory)["accelerometer"], runtime="litert")
        large = Model.open(mobilenets(directory, "large")["large"], runtime="litert")
    plans = plan({model.name: {1: measure(model)} for model in (small, large)}, cores=2)
    assert plans["large"].pooled, plans
    assert not plans[small.name].pooled, plans
    budget = Budget(2)
    given = readings([one for one in blocks(SECONDS) if one[0] == "accelerometer"])
    pairs = []
    for _ in range(ROUNDS):
        alone = p99_ms(small, given)
        stop = threading.Event()
        stream = Scheduler(Pipeline([large]), clock=SystemClock(), plans=plans, budget=budget)
        busy = threading.Thread(target=work, args=(stream, stop))
        busy.start()
        beside = p99_ms(small, given)
        stop.set()
        busy.join()
        pairs.append((beside, alone))
    print(
        json.dumps(
            {
                "name": "small_beside_large_p99",
                "ours": round(statistics.median(a for a, _ in pairs), 3),
                "baseline": round(statistics.median(b for _, b in pairs), 3),
                "unit": "ms, p99, from a block that completes a window to its result",
                "ratio": round(statistics.median(a / b for a, b in pairs), 3),
                "goal": 2.0,
                "better": "lower",
                "rounds": ROUNDS,
            }
        )
    )


def work(stream: Scheduler, stop: threading.Event) -> None:
    """One image after the other, without a pause."""
    number, pictures = 0, images(8)
    while not stop.is_set():
        stream.push([reading("large", pictures[number % 8], number)])
        number += 1


def p99_ms(model: Model, given: list[Reading]) -> float:
    """Latency of the blocks that complete a window, with pauses between them as sensors make."""
    stream = Scheduler(Pipeline([model]), clock=SystemClock())
    taken = []
    for one in given:
        begun = time.perf_counter()
        if stream.push([one]):
            taken.append(time.perf_counter() - begun)
        time.sleep(PAUSE_S)
    return float(np.quantile(taken, 0.99)) * 1e3


if __name__ == "__main__":
    main()
