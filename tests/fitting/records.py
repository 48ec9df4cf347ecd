"""Records of contributors that are good at different questions, and of two that differ in precision."""

from __future__ import annotations

import numpy as np

from edge_sdk.fitting.record import Opinion, Record

LABELS = ("none", "one", "two")


def classes(n: int = 600, seed: int = 0, *, sharpen: float = 1.0) -> Record:
    """``presence`` tells nobody from somebody; ``count`` tells one from two; ``coin`` knows nothing."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, n)
    right = rng.random((n, 2)) < 0.9
    presence, count, coin = np.empty((n, 3)), np.empty((n, 3)), rng.dirichlet([4, 4, 4], n)
    for i, label in enumerate(truth.tolist()):
        nobody = (label == 0) == bool(right[i, 0])
        presence[i] = [0.86, 0.07, 0.07] if nobody else [0.06, 0.47, 0.47]
        two = (label == 2) == bool(right[i, 1])
        count[i] = [0.34, 0.06, 0.6] if two else [0.34, 0.6, 0.06]
    fresh = np.ones(n, dtype=np.bool_)

    def opinion(rows: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Opinion:
        raised = rows**sharpen
        return Opinion(fresh, probabilities=raised / raised.sum(axis=1, keepdims=True))

    groups = np.array([f"day{i * 6 // n}" for i in range(n)])
    opinions = {"presence": opinion(presence), "count": opinion(count), "coin": opinion(coin)}
    return Record(opinions, truth, np.arange(n) * 1_000_000_000, groups, labels=LABELS)


def estimates(n: int = 900, seed: int = 0) -> Record:
    rng = np.random.default_rng(seed)
    truth = rng.normal(50, 20, n)
    fresh = np.ones(n, dtype=np.bool_)
    opinions = {
        "good": Opinion(fresh, values=truth + rng.normal(0, 4, n), stds=np.full(n, 4.0)),
        "poor": Opinion(fresh, values=truth + rng.normal(0, 8, n), stds=np.full(n, 8.0)),
    }
    groups = np.array([f"s{i * 3 // n}" for i in range(n)])
    return Record(opinions, truth, np.arange(n) * 1_000_000_000, groups, unit="m")
