"""Loads Keras models: Keras 3 ``.keras`` and ``.h5``."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from converters.load.graph import GraphModel
from converters.load.ports import Port, choose_outputs, join_inputs, told
from converters.load.shapes import first_line, fix_shape
from converters.load.witness import Witness
from edge_sdk.base.errors import ConversionError

UNROLLED_STEPS = 256


class KerasModel(GraphModel):
    """A Keras model in memory."""

    def __init__(self, path: str, source: Any, ports: tuple[Port, ...], window: tuple[int, ...], folder: Path) -> None:
        super().__init__(window, folder)
        self.versions["keras"] = keras.__version__
        self.notes += told(ports)
        steps = 0 if len(ports) > 1 else _steps(source)
        if 0 < steps <= UNROLLED_STEPS:
            source = _unrolled(source, window)
            self.notes.append(f"Recurrent layers are unrolled over {steps} steps: quantizers and ONNX take them so.")
        elif steps:
            self.notes.append(
                f"Recurrent layers over {steps} steps are left as loops: int8 TFLite and ONNX refuse those. "
                f"{UNROLLED_STEPS} steps and fewer are unrolled: cut shorter windows, or thin them out."
            )
        self._path, self._source, self._ports = path, source, ports
        self._model = source
        if len(ports) > 1 or len(source.outputs) > 1:
            self._tap([source.outputs[0]])

    def choose(self, answer: str, features: str) -> None:
        """Say which output answers, and which output or layer is handed on as features."""
        outputs = dict(zip(_output_names(self._source), self._source.outputs, strict=True))
        layers = {layer.name: layer for layer in self._source.layers}
        answer, features = choose_outputs(self._path, list(outputs), answer, features, inner=layers)
        if features:
            self._tap([outputs[answer], outputs[features] if features in outputs else layers[features].output])
        elif len(outputs) > 1:
            self._tap([outputs[answer]])

    def answer(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """The float model's answers, ``(n, n_answers)``."""
        return self._run(inputs)[0]

    def features(self, inputs: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """The features beside the answer, ``(n, n_features)``."""
        return self._run(inputs)[1] if len(self._model.outputs) > 1 else None

    def witness(self, inputs: NDArray[np.float32]) -> Witness | None:
        """The first BatchNormalization or Normalization on the way."""
        layers = keras.layers
        norms = [at for at in self._source.layers if isinstance(at, layers.BatchNormalization | layers.Normalization)]
        if not norms or len(self._ports) > 1:
            return None
        variance = norms[0].moving_variance if isinstance(norms[0], layers.BatchNormalization) else norms[0].variance
        values = keras.Model(self._source.inputs, norms[0].input).predict(inputs, batch_size=64, verbose=0)
        return Witness.of(norms[0].name, np.sqrt(np.asarray(variance)), values)

    def add_head(self, kind: str) -> None:
        """Append what makes it answer with a distribution."""
        layers = keras.layers
        given = keras.Input(self.input_shape[1:])
        answer, *features = keras.tree.flatten(self._model(given))
        if kind == "softmax":
            answer = layers.Softmax()(answer)
        else:
            if kind == "sigmoid_pair":
                answer = layers.Activation("sigmoid")(answer)
            answer = layers.Concatenate()([layers.Rescaling(-1.0, offset=1.0)(answer), answer])
        self._model = _named(given, [answer, *features])

    def as_tensorflow(self) -> Path:
        """A SavedModel with a fixed batch of 1.

        Not `from_concrete_functions`: with Keras 3 models that drops the weights without a word.
        """
        target = self.folder / "saved_model"
        if not target.is_dir():
            signature = [tf.TensorSpec(self.input_shape, tf.float32, name="input")]
            self._model.export(str(target), format="tf_saved_model", input_signature=signature, verbose=False)
        return target

    def _run(self, inputs: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        answers = keras.tree.flatten(self._model.predict(inputs, batch_size=64, verbose=0))
        return [np.asarray(answer, dtype=np.float32).reshape(len(inputs), -1) for answer in answers]

    def _tap(self, tensors: list[Any]) -> None:
        """Rebuild from one window to these tensors."""
        tapped = keras.Model(self._source.inputs, tensors)
        given = keras.Input(self.input_shape[1:])
        pieces = [_piece(given, port) for port in self._ports] if len(self._ports) > 1 else given
        self._model = _named(given, keras.tree.flatten(tapped(pieces)))


def _piece(window: Any, port: Port) -> Any:
    piece = window[..., port.begin : port.end]
    return keras.ops.reshape(piece[:, -1], (-1, *port.shape[1:])) if port.is_last else piece


def _named(given: Any, outputs: list[Any]) -> Any:
    """Outputs by name: the names survive into every format, the order of a list does not."""
    answer, *features = outputs
    return keras.Model(given, {"answer": answer, "features": features[0]} if features else answer)


def _steps(model: Any) -> int:
    """The most steps that a recurrent layer loops over; 0 = none loops."""
    return max((int(layer.input.shape[1] or UNROLLED_STEPS + 1) for layer in model.layers if _loops(layer)), default=0)


def _loops(layer: Any) -> bool:
    inner = layer.forward_layer if isinstance(layer, keras.layers.Bidirectional) else layer
    return isinstance(inner, keras.layers.LSTM | keras.layers.GRU | keras.layers.SimpleRNN) and not inner.unroll


def _unrolled(model: Any, window: tuple[int, ...]) -> Any:
    """The same model with its recurrent layers unrolled."""

    def copy(layer: Any) -> Any:
        config = layer.get_config()
        if _loops(layer):
            for part in (config, *(config[name]["config"] for name in ("layer", "backward_layer") if config.get(name))):
                part["unroll"] = True
        return type(layer).from_config(config)

    clone = keras.models.clone_model(model, input_tensors=keras.Input(batch_shape=window), clone_function=copy)
    clone.set_weights(model.get_weights())
    return clone


def _output_names(model: Any) -> list[str]:
    """Names of the outputs as the user gave them: keys of a dictionary, else the layers'."""
    struct = getattr(model, "_outputs_struct", None)
    if isinstance(struct, dict):
        return sorted(struct)
    if not hasattr(model, "output_names"):  # a Sequential
        return [model.layers[-1].name]
    names = list(model.output_names)
    return names if len(set(names)) == len(names) else [f"{name}_{index}" for index, name in enumerate(names)]


class _DepthwiseConv2D(keras.layers.DepthwiseConv2D):  # type: ignore[misc]
    """Keras 2 wrote `groups` into every convolution's configuration; Keras 3 refuses it where it means nothing."""

    def __init__(self, *, groups: int = 1, **options: Any) -> None:
        if groups != 1:
            raise ConversionError(f"DepthwiseConv2D with groups={groups} means nothing to Keras 3.")
        super().__init__(**options)


_LEGACY = {"DepthwiseConv2D": _DepthwiseConv2D}


def register(objects: Mapping[str, Any]) -> None:
    """Make custom layers known by their names."""
    keras.saving.get_custom_objects().update(objects)


def load_keras(path: Path, folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> KerasModel:
    """Load a ``.keras`` or ``.h5`` file.

    Raises:
        ConversionError: It is none, has inputs that no one window holds, dynamic dimensions, or NaN weights.
    """
    try:
        model: Any = keras.models.load_model(path, compile=False, custom_objects=_LEGACY)
    except (ValueError, TypeError, OSError, KeyError, AttributeError, ImportError) as error:
        reason = _unknown(path, str(error)) or f"{first_line(error).rstrip('.')}. Is it complete?"
        raise ConversionError(f"{path} cannot be loaded by Keras {keras.__version__}: {reason}") from error
    if not getattr(model, "inputs", None):
        model = _functional(path, model, shapes)
    for weight in model.weights:
        values = np.asarray(weight)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ConversionError(
                f"{path}: weight {weight.path!r} holds NaN or infinity. Train again, or take an older checkpoint."
            )
    inputs = [
        (given.name, fix_shape(str(path), given.name, tuple(given.shape), shapes, n_inputs=len(model.inputs)))
        for given in model.inputs
    ]
    window, ports = join_inputs(str(path), inputs)
    return KerasModel(str(path), model, ports, window, folder)


def _unknown(path: Path, words: str) -> str:
    """Which layers of a file Keras does not know, and what to do; empty where that is not the reason."""
    unknown = re.findall(r"Unknown layer: '(\w+)'", words)
    lambdas: list[str] = []
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
        for part in _parts(config):
            known = str(part.get("module", "")).partition(".")[0] in {"keras", "builtins"}
            name = part.get("registered_name") or part["class_name"]
            if part["class_name"] == "Lambda":
                lambdas.append(str(part["config"].get("name", "Lambda")))
            elif not known and not name.startswith("__") and keras.saving.get_registered_object(name) is None:
                own = str(part["config"].get("name", ""))
                unknown.append(f"{part['class_name']}{f' (layer {own!r})' if own else ''}")
    if unknown:
        return (
            f"it does not know {', '.join(dict.fromkeys(unknown))}. Name the Python module that defines it: "
            "--custom-objects module, or module:Name."
        )
    if lambdas:
        return (
            f"layer {', '.join(map(repr, lambdas))} is a Lambda, whose code would run here as it lies in the file. "
            "Write it as a layer of your own, save again, and name its module: --custom-objects module."
        )
    return ""


def _parts(config: Any) -> Iterator[dict[str, Any]]:
    """Every object that a configuration describes."""
    if isinstance(config, dict):
        if "class_name" in config and isinstance(config.get("config"), dict):
            yield config
        for value in config.values():
            yield from _parts(value)
    elif isinstance(config, list):
        for value in config:
            yield from _parts(value)


def _functional(path: Path, model: Any, shapes: Mapping[str, tuple[int, ...]]) -> Any:
    """A subclassed model does not say what it takes: the user does."""
    if len(shapes) != 1:
        raise ConversionError(f"{path} is a subclassed model that does not say its input. Give it: --input x=1,128,6")
    [(name, shape)] = shapes.items()
    given = keras.Input(shape[1:], name=name)
    try:
        return keras.Model(given, model(given))
    except (ValueError, TypeError, tf.errors.OpError) as error:
        raise ConversionError(f"{path} does not work with input {shape}: {first_line(error)}") from error
