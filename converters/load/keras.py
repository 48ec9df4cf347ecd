"""Loads Keras models: Keras 3 ``.keras`` and ``.h5``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from converters.load.graph import GraphModel
from converters.load.shapes import first_line, fix_shape
from edge_sdk.base.errors import ConversionError


class KerasModel(GraphModel):
    """A Keras model in memory."""

    def __init__(self, model: Any, input_shape: tuple[int, ...], folder: Path) -> None:
        super().__init__(input_shape, folder)
        self.versions["keras"] = keras.__version__
        self._model = model

    def answer(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """The float model's answers, ``(n, n_answers)``."""
        answers = self._model.predict(inputs, batch_size=64, verbose=0)
        if isinstance(answers, list | tuple):
            answers = answers[0]
        return np.asarray(answers, dtype=np.float32).reshape(len(inputs), -1)

    def add_head(self, kind: str) -> None:
        """Append what makes it answer with a distribution."""
        layers = keras.layers
        given = keras.Input(self.input_shape[1:])
        answer = self._model(given)
        if kind == "softmax":
            answer = layers.Softmax()(answer)
        else:
            if kind == "sigmoid_pair":
                answer = layers.Activation("sigmoid")(answer)
            answer = layers.Concatenate()([layers.Rescaling(-1.0, offset=1.0)(answer), answer])
        self._model = keras.Model(given, answer)

    def as_tensorflow(self) -> Path:
        """A SavedModel with a fixed batch of 1.

        Not `from_concrete_functions`: with Keras 3 models that drops the weights without a word.
        """
        target = self.folder / "saved_model"
        if not target.is_dir():
            signature = [tf.TensorSpec(self.input_shape, tf.float32, name="input")]
            self._model.export(str(target), format="tf_saved_model", input_signature=signature, verbose=False)
        return target


class _DepthwiseConv2D(keras.layers.DepthwiseConv2D):  # type: ignore[misc]
    """Keras 2 wrote `groups` into every convolution's configuration; Keras 3 refuses it where it means nothing."""

    def __init__(self, *, groups: int = 1, **options: Any) -> None:
        if groups != 1:
            raise ConversionError(f"DepthwiseConv2D with groups={groups} means nothing to Keras 3.")
        super().__init__(**options)


_LEGACY = {"DepthwiseConv2D": _DepthwiseConv2D}


def load_keras(path: Path, folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> KerasModel:
    """Load a ``.keras`` or ``.h5`` file.

    Raises:
        ConversionError: It is none, has several inputs, dynamic dimensions, or NaN weights.
    """
    try:
        model: Any = keras.models.load_model(path, compile=False, custom_objects=_LEGACY)
    except (ValueError, TypeError, OSError, KeyError, AttributeError) as error:
        raise ConversionError(
            f"{path} cannot be loaded by Keras {keras.__version__}: {first_line(error)}. Is it complete? "
            "Custom layers must be registered with keras.saving.register_keras_serializable."
        ) from error
    if len(model.inputs) != 1:
        raise ConversionError(f"{path} has {len(model.inputs)} inputs; a bundle's model has one.")
    for weight in model.weights:
        values = np.asarray(weight)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ConversionError(
                f"{path}: weight {weight.path!r} holds NaN or infinity. Train again, or take an older checkpoint."
            )
    given = tuple(model.inputs[0].shape)
    fixed = fix_shape(str(path), model.inputs[0].name, given, shapes)
    return KerasModel(model, fixed, folder)
