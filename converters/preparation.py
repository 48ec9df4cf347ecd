"""Preparation: the data of a conversion, preprocessed as the station will, and checked against itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.dataset import Dataset
from converters.recipe import Recipe
from edge_sdk.base.errors import CalibrationError


def prepare(folder: Path, recipe: Recipe, calibration: Dataset | None, evaluation: Dataset | None) -> Dataset | None:
    """Preprocess what there is into the job's folder; give back what the variants are compared on."""
    for data, name in ((calibration, "calibration"), (evaluation, "evaluation")):
        if data is not None:
            np.save(folder / f"{name}.npy", data.inputs(recipe))
    if evaluation is not None and evaluation.y is not None:
        np.save(folder / "y.npy", evaluation.y)
    if calibration is not None and evaluation is not None:
        _check_alike(calibration.windows(recipe), evaluation.windows(recipe))
    return evaluation


def shared_windows(calibration: Dataset | None, evaluation: Dataset | None) -> int:
    """How many evaluation windows are calibration windows as well; up to 1 % is chance, and counts as none."""
    if calibration is None or evaluation is None:
        return 0
    known = {window.tobytes() for window in calibration.x}
    shared = sum(window.tobytes() in known for window in evaluation.x)
    return shared if 100 * shared > len(evaluation.x) else 0


def write_truth(folder: Path, recipe: Recipe, data: Dataset | None) -> bool:
    """Write what the evaluation windows are into the job's folder; whether it is known.

    Raises:
        CalibrationError: A label is no class of the model.
    """
    if data is None or data.y is None:
        return False
    if recipe.task == "classification":
        np.save(folder / "truth.npy", data.classes(len(recipe.labels)))
    else:
        np.save(folder / "truth.npy", np.asarray(data.y, dtype=np.float64))
    return True


def _check_alike(calibration: NDArray[np.float32], evaluation: NDArray[np.float32]) -> None:
    """Refuse two data sets that cannot be in the same units.

    Raises:
        CalibrationError: Their shapes differ, or one's values spread a hundred times wider than the other's.
    """
    if calibration.shape[1:] != evaluation.shape[1:]:
        raise CalibrationError(
            f"Calibration data has windows of {calibration.shape[1:]}, evaluation data of {evaluation.shape[1:]}."
        )
    spans = [float(np.quantile(data, 0.99) - np.quantile(data, 0.01)) for data in (calibration, evaluation)]
    if min(spans) > 0 and max(spans) / min(spans) > 100:
        raise CalibrationError(
            f"Calibration data runs from {calibration.min():.6g} to {calibration.max():.6g}, evaluation data from "
            f"{evaluation.min():.6g} to {evaluation.max():.6g}: not the same units. Give both in physical units."
        )
