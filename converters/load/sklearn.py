"""Loads scikit-learn estimators, through skl2onnx: they become ONNX and nothing else."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import skl2onnx
import sklearn
from numpy.typing import NDArray
from skl2onnx.common.data_types import FloatTensorType

from converters.load.onnx import OnnxModel
from converters.load.shapes import first_line
from edge_sdk.base.errors import ConversionError

_OPSET = {"": 17, "ai.onnx.ml": 3}


class SklearnModel(OnnxModel):
    """An estimator, answered by itself and written as ONNX."""

    def __init__(self, path: str, estimator: Any, model: Any, input_shape: tuple[int, ...]) -> None:
        super().__init__(path, model, input_shape)
        self.versions |= {"scikit-learn": sklearn.__version__, "skl2onnx": skl2onnx.__version__}
        self._estimator = estimator

    def answer(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """The estimator's own answers: probabilities, or values; ``(n, n_answers)``."""
        flat = inputs.reshape(len(inputs), -1)
        ask = self._estimator.predict_proba if hasattr(self._estimator, "predict_proba") else self._estimator.predict
        return np.asarray(ask(flat), dtype=np.float32).reshape(len(inputs), -1)

    def add_head(self, kind: str) -> None:
        """An estimator that gives no probabilities gets none."""
        raise ConversionError(
            f"{type(self._estimator).__name__} gives no probabilities. Take one with predict_proba, wrap it in "
            "CalibratedClassifierCV, or say `task: regression`."
        )


def load_sklearn(path: Path, folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> SklearnModel:
    """Load a ``.joblib`` or pickle with a fitted estimator. Loading a pickle runs what is in it.

    Raises:
        ConversionError: It holds no fitted estimator, or one that skl2onnx does not know.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", sklearn.exceptions.InconsistentVersionWarning)
            estimator: Any = joblib.load(path)
    except Exception as error:  # a pickle raises whatever its content raises
        raise ConversionError(f"{path} cannot be loaded: {first_line(error)}") from error
    n_features = getattr(estimator, "n_features_in_", None)
    if n_features is None:
        raise ConversionError(f"{path} holds a {type(estimator).__name__}; wanted is a fitted scikit-learn estimator.")
    classifies = hasattr(estimator, "predict_proba")
    try:
        model = skl2onnx.convert_sklearn(
            estimator,
            initial_types=[("input", FloatTensorType([1, n_features]))],
            options={id(estimator): {"zipmap": False}} if classifies else None,
            target_opset=_OPSET,
        )
    except (RuntimeError, ValueError, NotImplementedError, NameError) as error:
        raise ConversionError(f"skl2onnx cannot convert {type(estimator).__name__}: {first_line(error)}") from error
    if classifies:  # the label comes first, the probabilities second; the label follows from them
        del model.graph.output[0]
    model.graph.name = type(estimator).__name__  # it carries a random name otherwise
    return SklearnModel(str(path), estimator, model, (1, int(n_features)))
