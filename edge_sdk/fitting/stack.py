"""Fitting the stack: a small network, trained with contributors taken away; scikit-learn, on a workstation only."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_sdk.base.errors import MissingExtraError
from edge_sdk.fitting.methods import Method, Options
from edge_sdk.fitting.record import Opinion, Record

_FLOOR = 1e-4


def stack(hidden: tuple[int, ...] = (24,), *, seed: int = 1, rows: int = 60_000, epochs: int = 60) -> Method:
    """Stacking as a method: a network with these hidden layers over words, features and masks."""

    def fitted(record: Record, temperatures: dict[str, float]) -> Options:
        return fit_stack(record, hidden=hidden, seed=seed, max_rows=rows, epochs=epochs)

    return Method("stacking with masks", "stacking", fitted, calibrate=False)


def fit_stack(
    record: Record, *, hidden: tuple[int, ...] = (24,), seed: int = 1, max_rows: int = 60_000, epochs: int = 60
) -> Options:
    """Options of a `Stacking` fuser that has seen every contributor missing.

    Each moment is shown whole, and again with each contributor taken away (for up to three, each set of them).

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.neural_network import MLPClassifier, MLPRegressor
    except ModuleNotFoundError as error:
        raise MissingExtraError("Fitting a stack", extra="convert") from error
    parts, blocks = [], []
    for name, opinion in record.opinions.items():
        part, block = _part(name, opinion)
        parts.append(part)
        blocks.append(block)
    x, y = _shown(blocks, record, np.random.default_rng(seed), max_rows)
    centre, scale = 0.0, 1.0
    kind: type[Any] = MLPClassifier
    if record.task == "regression":
        kind, centre, scale = MLPRegressor, float(y.mean()), float(y.std()) or 1.0
        y = (y - centre) / scale
    network = kind(
        hidden_layer_sizes=hidden,
        alpha=1e-3,
        batch_size=256,
        learning_rate_init=2e-3,
        max_iter=epochs,
        early_stopping=True,
        n_iter_no_change=8,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a network that could still learn a little is no fault
        network.fit(x, y)
    options: Options = {"parts": parts, "layers": _layers(network, record)}
    if record.task == "regression":
        options |= {"centre": centre, "scale": scale, **_deviations(options, record, centre, scale)}
    return options


def _part(name: str, opinion: Opinion) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """A contributor's place in the input, and its standardised columns with the mask behind; 0 where absent."""
    if opinion.probabilities is not None:
        said = np.log(np.maximum(opinion.probabilities, _FLOOR))
    else:
        assert opinion.values is not None
        said = opinion.values[:, None]
    classes = 0 if opinion.probabilities is None else said.shape[1]
    n_features = 0
    if opinion.features is not None:
        said, n_features = np.hstack([said, opinion.features]), opinion.features.shape[1]
    rows = opinion.fresh
    centre = said[rows].mean(axis=0) if rows.any() else np.zeros(said.shape[1])
    scale = said[rows].std(axis=0) if rows.any() else np.ones(said.shape[1])
    scale[scale < 1e-9] = 1.0
    block = np.hstack([(said - centre) / scale, np.ones((len(said), 1))]) * rows[:, None]
    part = {
        "model": name,
        "classes": classes,
        "features": n_features,
        "centre": [float(one) for one in centre],
        "scale": [float(one) for one in scale],
    }
    return part, block


def _shown(
    blocks: list[NDArray[np.float64]], record: Record, rng: np.random.Generator, max_rows: int
) -> tuple[NDArray[np.float64], NDArray[Any]]:
    n = len(blocks)
    most = n - 1 if n <= 3 else 1
    missing = [set(names) for size in range(most + 1) for names in itertools.combinations(range(n), size)]
    xs, ys = [], []
    there = np.array([opinion.fresh for opinion in record.opinions.values()])
    for names in missing:
        kept = [index for index in range(n) if index not in names]
        rows = np.flatnonzero(there[kept].any(axis=0))
        limit = max_rows // 2 if not names else max_rows // 2 // max(1, len(missing) - 1)
        if len(rows) > limit:
            rows = rng.choice(rows, limit, replace=False)
        xs.append(np.hstack([block[rows] * (index not in names) for index, block in enumerate(blocks)]))
        ys.append(record.truth[rows])
    return np.concatenate(xs), np.concatenate(ys)


def _layers(network: Any, record: Record) -> list[dict[str, Any]]:
    weights, biases = list(network.coefs_), list(network.intercepts_)
    if record.task == "classification":
        weights[-1], biases[-1] = _all_classes(weights[-1], biases[-1], network.classes_, len(record.labels))
    last = len(weights) - 1
    return [
        {
            "weights": np.round(matrix, 6).tolist(),
            "bias": np.round(bias, 6).tolist(),
            "activation": "relu" if index < last else "linear",
        }
        for index, (matrix, bias) in enumerate(zip(weights, biases, strict=True))
    ]


def _all_classes(
    matrix: NDArray[np.float64], bias: NDArray[np.float64], seen: NDArray[np.int64], n_classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Logits for every label; what training never saw gets -10. Two classes come as one logit."""
    if len(seen) == 2:
        matrix, bias = np.hstack([-matrix / 2, matrix / 2]), np.concatenate([-bias / 2, bias / 2])
    whole, whole_bias = np.zeros((len(matrix), n_classes)), np.full(n_classes, -10.0)
    whole[:, seen] = matrix
    whole_bias[seen] = bias
    return whole, whole_bias


def _deviations(options: Options, record: Record, centre: float, scale: float) -> dict[str, Any]:
    """Deviation of the estimate on the record, whole and with each one missing."""
    from edge_sdk.fitting.score import run
    from edge_sdk.fusion.chain import open_fuser

    fuser = open_fuser("stacking", {**options, "centre": centre, "scale": scale})
    found: dict[str, float] = {}
    every = max(1, len(record) // 4000)
    sample = record.take(np.arange(0, len(record), every))
    for names in [(), *((name,) for name in record.models)]:
        answers = run(fuser, sample.without(names))
        gaps = [
            (fused.value - truth) ** 2
            for fused, truth in zip(answers, sample.truth.tolist(), strict=True)
            if fused is not None and fused.value is not None
        ]
        if gaps:
            found["+".join(names)] = round(float(np.sqrt(np.mean(gaps))), 6)
    return {"std": found.pop("", 0.0), "std_without": found}
