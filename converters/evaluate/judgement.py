"""The judgement: what a variant's answers are worth beside the float source's and the truth."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.evaluate.interval import auc, mean_interval, wilson
from converters.recipe import Recipe
from converters.scheme import Scheme
from edge_sdk.base.errors import ConversionError
from edge_sdk.contract.manifest import Metric

_MANY_LABELS = 32


def worst_difference(
    scheme: Scheme, answers: NDArray[np.float32], source: NDArray[np.float32], *, where: str = ""
) -> float:
    """The largest difference from the source; refuses what is no model any more.

    Raises:
        ConversionError: NaN, constant output, another shape, or a float32 model that differs from its source.
    """
    what = f"The {scheme.precision} {scheme.format} model{where}"
    if answers.shape != source.shape:
        raise ConversionError(f"{what} answers {answers.shape[1]} values, its source {source.shape[1]}.")
    if not np.isfinite(answers).all():
        raise ConversionError(f"{what} answers NaN or infinity where its source does not. It must not be deployed.")
    spread, wanted = np.ptp(answers, axis=0).max(), np.ptp(source, axis=0).max()
    if len(answers) > 1 and wanted > 1e-6 and spread < 1e-3 * wanted:
        raise ConversionError(
            f"{what} answers the same to every window (spread {spread:.3g}, its source {wanted:.3g}): quantization "
            "destroyed it. Check that the calibration data is what the model was trained on, preprocessed alike, "
            "or take --precision float16."
        )
    worst = float(np.abs(answers - source).max())
    if scheme.precision == "float32" and worst > 1e-3 * max(1.0, float(np.abs(source).max())):
        raise ConversionError(f"{what} differs from its source by {worst:.3g}: the conversion itself is wrong.")
    return worst


def features_lost(scheme: Scheme, features: list[NDArray[np.float32]], source: NDArray[np.float32]) -> float:
    """How far the features are from the source's, as a share of their spread.

    Raises:
        ConversionError: They are missing, of another length, not finite, or a float32 model's differ.
    """
    what = f"The features of the {scheme.precision} {scheme.format} model"
    if len(features) != 1 or features[0].shape != source.shape:
        raise ConversionError(f"{what} are {[f.shape[1] for f in features]} values, its source's {source.shape[1]}.")
    if not np.isfinite(features[0]).all():
        raise ConversionError(f"{what} hold NaN or infinity where its source's do not. It must not be deployed.")
    spread = float((source - source.mean(axis=0)).std())
    error = float(np.sqrt(np.square(features[0].astype(np.float64) - source).mean()))
    lost = error / spread if spread > 0 else error
    if scheme.precision == "float32" and lost > 1e-3:
        raise ConversionError(f"{what} differ from its source's by {lost:.1%}: the conversion itself is wrong.")
    return lost


def confusions(answers: NDArray[np.float32], truth: NDArray[Any], n_labels: int) -> tuple[tuple[int, ...], ...]:
    """How often each class, a row, was taken for which, a column; empty where there are very many."""
    if n_labels > _MANY_LABELS:
        return ()
    counts = np.zeros((n_labels, n_labels), np.int64)
    np.add.at(counts, (truth.astype(np.int64), answers.argmax(axis=1)), 1)
    return tuple(tuple(int(n) for n in row) for row in counts)


def as_told(recipe: Recipe, answers: NDArray[np.float32], data: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a station will tell of the answers: of a reconstruction, its mean squared difference from the input."""
    if not recipe.reconstructs:
        return answers
    return np.asarray(np.square(answers - data.reshape(answers.shape)).mean(axis=1, keepdims=True), np.float32)


def measured(
    recipe: Recipe, answers: NDArray[np.float32], source: NDArray[np.float32], truth: NDArray[Any] | None
) -> Metric:
    """Accuracy, AUC or mean absolute error with its interval, beside the source's; without truth, to the source."""
    n = len(answers)
    if recipe.reconstructs and truth is not None:
        value, low, high = auc(answers[:, 0], truth > 0.5)
        float_value = auc(source[:, 0], truth > 0.5)[0]
        return Metric(name="auc", value=value, low=low, high=high, float_value=float_value, n=n)
    if recipe.task == "classification":
        wanted = source.argmax(axis=1) if truth is None else truth
        hits = int((answers.argmax(axis=1) == wanted).sum())
        low, high = wilson(hits, n)
        source_hits = int((source.argmax(axis=1) == wanted).sum())
        name = "agreement" if truth is None else "accuracy"
        return Metric(name=name, value=hits / n, low=low, high=high, float_value=source_hits / n, n=n)
    reference = source[:, 0] if truth is None else truth
    errors = np.abs(answers[:, 0].astype(np.float64) - reference)
    low, high = mean_interval(errors)
    return Metric(
        name="mae_to_float" if truth is None else "mae",
        value=float(errors.mean()),
        low=max(0.0, low),
        high=high,
        float_value=float(np.abs(source[:, 0].astype(np.float64) - reference).mean()),
        n=n,
    )
