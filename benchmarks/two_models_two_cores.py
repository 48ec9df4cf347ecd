"""Two equal models on two cores: throughput of the scheduler beside the same models in turn."""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks._mobilenet import images, mobilenets, reading
from edge_sdk.base.clock import SystemClock
from edge_sdk.inference.model import Model
from edge_sdk.runtime.budget import Budget
from edge_sdk.runtime.pipeline import Pipeline
from edge_sdk.runtime.plan import measure, plan
from edge_sdk.runtime.scheduler import Scheduler

ROUNDS = 11
IMAGES = 40
AT_ONCE = 4


def main() -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    with tempfile.TemporaryDirectory() as directory:
        models = [Model.open(bundle, runtime="litert") for bundle in mobilenets(Path(directory), "a", "b").values()]
    plans = plan({model.name: {1: measure(model)} for model in models}, cores=2)
    waiting = [reading(name, image, number) for number, image in enumerate(images(IMAGES)) for name in ("a", "b")]

    def in_turn() -> int:
        pipeline = Pipeline(models)
        return sum(len(pipeline.push(one)) for one in waiting)

    def side_by_side() -> int:
        stream = Scheduler(Pipeline(models), clock=SystemClock(), plans=plans, budget=Budget(2))
        parts = [waiting[first : first + AT_ONCE] for first in range(0, len(waiting), AT_ONCE)]
        made = sum(len(stream.push(part)) for part in parts)
        stream.close()
        return made

    assert in_turn() == side_by_side() == IMAGES
    pairs = [(per_s(side_by_side), per_s(in_turn)) for _ in range(ROUNDS)]
    print(
        json.dumps(
            {
                "name": "two_models_two_cores",
                "ours": round(statistics.median(a for a, _ in pairs), 1),
                "baseline": round(statistics.median(b for _, b in pairs), 1),
                "unit": "fused results per second",
                "ratio": round(statistics.median(a / b for a, b in pairs), 3),
                "goal": 1.7,
                "better": "higher",
                "rounds": ROUNDS,
            }
        )
    )


def per_s(work: Callable[[], int]) -> float:
    begun = time.perf_counter()
    return work() / (time.perf_counter() - begun)


if __name__ == "__main__":
    main()
