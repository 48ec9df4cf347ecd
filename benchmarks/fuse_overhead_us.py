"""Fusing 8 models of 20 classes: with states, weights and temperatures, beside the bare numpy arithmetic.

The goal of 40 µs beside 10 µs is for one core of a workstation; the ratio is what holds elsewhere.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable

import numpy as np

from edge_sdk.contract.prediction import ContributorState, Prediction
from edge_sdk.fusion.chain import Chain

MODELS, CLASSES, CALLS, ROUNDS = 8, 20, 3000, 7


def timed(call: Callable[[], object]) -> float:
    """Microseconds a call."""
    began = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - began) / CALLS * 1e6


def main() -> None:
    rng = np.random.default_rng(1)
    rows = rng.dirichlet(np.ones(CLASSES), MODELS)
    names = [f"model{i}" for i in range(MODELS)]
    weights = {name: 1.0 + i for i, name in enumerate(names)}
    temperatures = {name: 1.0 + 0.1 * (i + 1) for i, name in enumerate(names)}
    chain = Chain("log_opinion_pool", {"weights": weights}, temperatures=temperatures)
    moments = [
        [Prediction(name, 0, 1, probabilities=row) for name, row in zip(names, rows, strict=True)],
        [
            Prediction(
                name, 0, 1, probabilities=row, state=ContributorState.STALE if i == 3 else ContributorState.FRESH
            )
            for i, (name, row) in enumerate(zip(names, rows, strict=True))
        ],
    ]
    share = np.array(list(weights.values())) / sum(weights.values())
    heat = (share / np.array(list(temperatures.values())))[:, None]

    def bare() -> object:
        log_p = (heat * np.log(np.maximum(rows, 1e-4))).sum(axis=0)
        p = np.exp(log_p - log_p.max())
        return p / p.sum()

    turn = iter(range(10**9))
    ours, baseline = [], []
    for _ in range(ROUNDS):
        ours.append(timed(lambda: chain.fuse(moments[next(turn) & 1])))
        baseline.append(timed(bare))
    given, wanted = statistics.median(ours), statistics.median(baseline)
    print(
        json.dumps(
            {
                "name": "fuse_overhead_us",
                "ours": round(given, 2),
                "baseline": round(wanted, 2),
                "unit": "us",
                "ratio": round(given / wanted, 3),
                "goal": 4.0,
                "better": "lower",
                "rounds": ROUNDS,
            }
        )
    )


if __name__ == "__main__":
    main()
