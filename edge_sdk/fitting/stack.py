"""Fitting the stack: a small network over what contributors say, trained with contributors taken away."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_sdk.fitting.methods import Method, Options
from edge_sdk.fitting.network import Layers, Training, train
from edge_sdk.fitting.record import Opinion, Record

_FLOOR = 1e-4
_UNSEEN = -10.0  # logit of a class that training never saw
_MOST_ROWS = 60_000


def stack(training: Training | None = None, *, root: bool = False, title: str = "stacking with masks") -> Method:
    """Stacking as a method: a network over words, features and masks.

    Args:
        training: How it is trained; None = one hidden layer of 24.
        root: Learn the root of the target, for what is never negative and has a long tail (regression).
        title: What tables call it.
    """

    def fitted(record: Record, _: dict[str, float]) -> Options:
        return fit_stack(record, training or Training(), root=root)

    return Method(title, "stacking", fitted, calibrate=False, learned=True)


def fit_stack(record: Record, training: Training, *, root: bool = False) -> Options:
    """Options of a `Stacking` fuser that has seen every contributor missing."""
    parts, blocks = [], []
    for name, opinion in record.opinions.items():
        part, block = _part(name, opinion, root=root)
        parts.append(part)
        blocks.append(block)
    x = np.hstack(blocks)
    rows = np.flatnonzero(np.array([opinion.fresh for opinion in record.opinions.values()]).any(axis=0))
    if len(rows) > _MOST_ROWS:
        rows = np.sort(np.random.default_rng(training.seed).choice(rows, _MOST_ROWS, replace=False))
    widths = [block.shape[1] for block in blocks]
    if record.task == "classification":
        truth = np.asarray(record.truth[rows], dtype=np.int64)
        layers = train(x[rows], truth, widths, len(record.labels), training)
        unseen = np.setdiff1d(np.arange(len(record.labels)), truth)
        layers[-1][0][:, unseen], layers[-1][1][unseen] = 0.0, _UNSEEN
        return {"parts": parts, "layers": _written(layers), "lone_word": True}
    wanted = np.asarray(record.truth[rows], dtype=np.float64)
    if root:
        wanted = np.asarray(np.sqrt(np.maximum(wanted, 0.0)))
    centre, scale = float(wanted.mean()), float(wanted.std()) or 1.0
    layers = train(x[rows], np.asarray((wanted - centre) / scale), widths, 0, training)
    options: Options = {"parts": parts, "layers": _written(layers), "lone_word": True}
    return options | {"centre": centre, "scale": scale, "root": root}


def _part(name: str, opinion: Opinion, *, root: bool) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """A contributor's place in the input, and its standardised columns with the mask behind; 0 where absent."""
    if opinion.probabilities is not None:
        said = np.log(np.maximum(opinion.probabilities, _FLOOR))
    else:
        assert opinion.values is not None
        said = opinion.values[:, None]
        if root:
            said = np.sqrt(np.maximum(said, 0.0))
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


def _written(layers: Layers) -> list[dict[str, Any]]:
    last = len(layers) - 1
    return [
        {
            "weights": np.round(weights, 6).tolist(),
            "bias": np.round(bias, 6).tolist(),
            "activation": "relu" if index < last else "linear",
        }
        for index, (weights, bias) in enumerate(layers)
    ]
