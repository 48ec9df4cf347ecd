"""Early fusion, for comparison: one model on the windows of all sensors jointly, which no station runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_sdk.fitting.network import Training, train
from edge_sdk.fitting.record import Record
from edge_sdk.fitting.table import Table, windows
from edge_sdk.fusion.base import Fused
from edge_sdk.inference.model import Model

TITLE = "early fusion"
_FEW = 8  # batches of rows below which a network would learn by heart


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Windows of all sensors as one row for each moment of a record.

    Attributes:
        x: float64 ``(n, n_features)``: means over the last 1, 2, 4 … samples of each channel; 0 where absent.
        widths: Columns of each contributor, its mask included.
    """

    x: NDArray[np.float64]
    widths: tuple[int, ...]

    @classmethod
    def of(cls, table: Table, models: Sequence[Model], record: Record) -> Features:
        """Cut the windows again, and take those that end with the record's moments."""
        blocks = []
        for model in models:
            cut = windows(table, model)
            length = model.bundle.manifest.windowing.length
            lasts = [2**power for power in range(length.bit_length()) if 2**power <= length]
            means = np.array(
                [np.concatenate([one.samples[-last:].mean(axis=0) for last in lasts]) for one in cut.values()]
            )
            place = {key: index for index, key in enumerate(cut)}
            rows = np.array([place.get(key, -1) for key in table.keys(record)], dtype=np.intp)
            fresh = record.opinions[model.name].fresh & (rows >= 0)
            block = np.zeros((len(record), means.shape[1] + 1))
            block[fresh, :-1], block[:, -1] = means[rows[fresh]], fresh
            blocks.append(block)
        return cls(np.hstack(blocks), tuple(block.shape[1] for block in blocks))


def fused(
    features: Features, record: Record, *, learned: tuple[Features, Record] | None = None
) -> tuple[list[Fused | None], Record]:
    """Answers of early fusion, and the record they belong to: a linear discriminant, or a small network.

    Args:
        features: Of the test.
        record: The test.
        learned: Features and record to learn from; None = each of the test's groups is learned from the others.
    """
    if learned is not None:
        return _answers(learned[0], learned[1], np.ones(len(learned[1]), dtype=np.bool_), features.x), record
    answers: list[Fused | None] = [None] * len(record)
    for _, rows in record.splits():
        if rows.all():
            break
        for index, answer in zip(
            np.flatnonzero(rows), _answers(features, record, ~rows, features.x[rows]), strict=True
        ):
            answers[index] = answer
    return answers, record


def _answers(features: Features, record: Record, rows: NDArray[np.bool_], x: NDArray[np.float64]) -> list[Fused | None]:
    seen = features.x[rows]
    masks = np.cumsum(features.widths) - 1
    there = np.repeat(seen[:, masks] > 0, features.widths, axis=1)
    n_there = np.maximum(there.sum(axis=0), 1)
    mean = (seen * there).sum(axis=0) / n_there
    std = np.sqrt((np.where(there, seen - mean, 0.0) ** 2).sum(axis=0) / n_there) + 1e-9
    mean[masks], std[masks] = 0.0, 1.0

    def standardised(given: NDArray[np.float64]) -> NDArray[np.float64]:
        known = np.repeat(given[:, masks] > 0, features.widths, axis=1)
        return np.where(known, np.clip((given - mean) / std, -10, 10), 0.0)

    if record.task == "classification":
        truth = np.asarray(record.truth[rows], dtype=np.intp)
        said = _discriminant(standardised(seen), truth, len(record.labels))(standardised(x))
        return [Fused(probabilities=row) for row in said]
    wanted = np.asarray(record.truth[rows], dtype=np.float64)
    centre, scale = float(wanted.mean()), float(wanted.std()) or 1.0
    hidden = (32,) if len(wanted) > 256 * _FEW else ()
    layers = train(standardised(seen), (wanted - centre) / scale, features.widths, 0, Training(hidden=hidden, hide=0.2))
    out = standardised(x)
    for index, (weights, bias) in enumerate(layers):
        out = out @ weights + bias
        out = np.maximum(out, 0.0) if index < len(layers) - 1 else out
    return [Fused(value=float(value)) for value in out[:, 0] * scale + centre]


def _discriminant(
    x: NDArray[np.float64], truth: NDArray[np.intp], n_classes: int
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Linear discriminant analysis (Fisher 1936) with every class counting alike, and a little ridge."""
    labels = np.unique(truth)
    means = np.array([x[truth == label].mean(axis=0) for label in labels])
    within = x - means[np.searchsorted(labels, truth)]
    spread = within.T @ within / len(x) + 1e-3 * np.eye(x.shape[1])
    weights = np.linalg.solve(spread, means.T)
    bias = -0.5 * np.einsum("ij,ji->i", means, weights)

    def probabilities(given: NDArray[np.float64]) -> NDArray[np.float64]:
        logits = given @ weights + bias
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        out = np.zeros((len(given), n_classes))
        out[:, labels] = raised / raised.sum(axis=1, keepdims=True)
        return out

    return probabilities
