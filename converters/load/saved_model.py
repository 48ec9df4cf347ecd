"""Loads SavedModels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from converters.load.graph import GraphModel
from converters.load.shapes import first_line, fix_shape
from edge_sdk.base.errors import ConversionError

_SERVING = "serving_default"


class SavedModel(GraphModel):
    """A SavedModel's serving signature."""

    def __init__(self, loaded: Any, name: str, input_shape: tuple[int, ...], folder: Path) -> None:
        super().__init__(input_shape, folder)
        self._loaded, self._name = loaded, name  # `loaded` owns the variables: it must outlive the function
        self._function = loaded.signatures[_SERVING]
        self._head = ""

    def answer(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """The float model's answers, ``(n, n_answers)``."""
        traced = tf.function(self._call, input_signature=[tf.TensorSpec(self.input_shape, tf.float32)])
        return np.stack([np.asarray(traced(window[None])).reshape(-1) for window in inputs]).astype(np.float32)

    def add_head(self, kind: str) -> None:
        """Append what makes it answer with a distribution."""
        self._head = kind

    def as_tensorflow(self) -> Path:
        """A SavedModel with a fixed batch of 1."""
        target = self.folder / "saved_model"
        if not target.is_dir():
            module = tf.Module()
            module.source = self._loaded
            spec = tf.TensorSpec(self.input_shape, tf.float32, name="input")
            function = tf.function(lambda x: {"output": self._call(x)}).get_concrete_function(spec)
            tf.saved_model.save(module, str(target), signatures={_SERVING: function})
        return target

    def _call(self, x: Any) -> Any:
        answer = next(iter(self._function(**{self._name: x}).values()))
        if self._head == "softmax":
            return tf.nn.softmax(answer)
        if self._head == "sigmoid_pair":
            answer = tf.sigmoid(answer)
        return tf.concat([1.0 - answer, answer], axis=-1) if self._head else answer


def load_saved_model(path: Path, folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> SavedModel:
    """Load a SavedModel folder.

    Raises:
        ConversionError: It is none, has no serving signature, several inputs, open dimensions, or NaN weights.
    """
    try:
        loaded: Any = tf.saved_model.load(str(path))
    except (ValueError, OSError, KeyError, tf.errors.OpError) as error:
        raise ConversionError(f"{path} cannot be loaded as a SavedModel: {first_line(error)}") from error
    if _SERVING not in loaded.signatures:
        raise ConversionError(f"{path} has no signature {_SERVING!r}; it has {sorted(loaded.signatures) or 'none'}.")
    inputs = loaded.signatures[_SERVING].structured_input_signature[1]
    if len(inputs) != 1:
        raise ConversionError(f"{path} has {len(inputs)} inputs; a bundle's model has one.")
    for variable in loaded.signatures[_SERVING].captured_inputs:
        if variable.dtype == tf.float32 and not bool(tf.reduce_all(tf.math.is_finite(variable))):
            raise ConversionError(f"{path}: a weight holds NaN or infinity. Take an older checkpoint.")
    [(name, spec)] = inputs.items()
    return SavedModel(loaded, name, fix_shape(str(path), name, tuple(spec.shape), shapes), folder)
