"""Loads SavedModels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from converters.load.graph import GraphModel
from converters.load.ports import Port, choose_outputs, join_inputs, told
from converters.load.shapes import first_line, fix_shape
from edge_sdk.base.errors import ConversionError

_SERVING = "serving_default"


class SavedModel(GraphModel):
    """A SavedModel's serving signature."""

    def __init__(
        self, path: str, loaded: Any, ports: tuple[Port, ...], input_shape: tuple[int, ...], folder: Path
    ) -> None:
        super().__init__(input_shape, folder)
        self.notes += told(ports)
        self._path, self._loaded = path, loaded  # `loaded` owns the variables: it must outlive the function
        self._function, self._ports = loaded.signatures[_SERVING], ports
        self._names = [next(iter(self._function.structured_outputs))]
        self._head = ""

    def choose(self, answer: str, features: str) -> None:
        """Say which output answers, and which is handed on as features."""
        chosen = choose_outputs(self._path, list(self._function.structured_outputs), answer, features)
        self._names = [name for name in chosen if name]

    def answer(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """The float model's answers, ``(n, n_answers)``."""
        return self._run(inputs)[0]

    def features(self, inputs: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """The features beside the answer, ``(n, n_features)``."""
        return self._run(inputs)[1] if len(self._names) > 1 else None

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
            function = tf.function(self._call).get_concrete_function(spec)
            tf.saved_model.save(module, str(target), signatures={_SERVING: function})
        return target

    def _run(self, inputs: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        traced = tf.function(self._call, input_signature=[tf.TensorSpec(self.input_shape, tf.float32)])
        answers = [traced(window[None]) for window in inputs]
        return [np.stack([np.asarray(each[name]).reshape(-1) for each in answers]) for name in sorted(answers[0])]

    def _call(self, x: Any) -> dict[str, Any]:
        given = (
            {port.name: _piece(x, port) for port in self._ports} if len(self._ports) > 1 else {self._ports[0].name: x}
        )
        found = self._function(**given)
        answers = dict(zip(("answer", "features"), (found[name] for name in self._names), strict=False))
        answers["answer"] = self._distribution(answers["answer"])
        return answers

    def _distribution(self, answer: Any) -> Any:
        if self._head == "softmax":
            return tf.nn.softmax(answer)
        if self._head == "sigmoid_pair":
            answer = tf.sigmoid(answer)
        return tf.concat([1.0 - answer, answer], axis=-1) if self._head else answer


def _piece(window: Any, port: Port) -> Any:
    piece = window[..., port.begin : port.end]
    return tf.reshape(piece[:, -1], port.shape) if port.is_last else piece


def load_saved_model(path: Path, folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> SavedModel:
    """Load a SavedModel folder.

    Raises:
        ConversionError: It is none, has no serving signature, inputs that no one window holds, open dimensions, or
            NaN weights.
    """
    try:
        loaded: Any = tf.saved_model.load(str(path))
    except (ValueError, OSError, KeyError, tf.errors.OpError) as error:
        raise ConversionError(f"{path} cannot be loaded as a SavedModel: {first_line(error)}") from error
    if _SERVING not in loaded.signatures:
        raise ConversionError(f"{path} has no signature {_SERVING!r}; it has {sorted(loaded.signatures) or 'none'}.")
    inputs = loaded.signatures[_SERVING].structured_input_signature[1]
    for variable in loaded.signatures[_SERVING].captured_inputs:
        if variable.dtype == tf.float32 and not bool(tf.reduce_all(tf.math.is_finite(variable))):
            raise ConversionError(f"{path}: a weight holds NaN or infinity. Take an older checkpoint.")
    shaped = [
        (name, fix_shape(str(path), name, tuple(spec.shape), shapes, n_inputs=len(inputs)))
        for name, spec in inputs.items()
    ]
    window, ports = join_inputs(str(path), shaped)
    return SavedModel(str(path), loaded, ports, window, folder)
