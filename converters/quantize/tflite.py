"""Writes TFLite models with TensorFlow's converter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.load.base import Loaded
from converters.quantize.choice import closest, smaller_dense
from converters.scheme import Scheme
from edge_sdk.base.errors import CalibrationError, ConversionError

Written = tuple[bytes, dict[str, str]]
_BY_QUANTIZER = {"int4", "mixed"}


def write_tflite(
    loaded: Loaded, scheme: Scheme, calibration: NDArray[np.float32] | None, *, symmetric: bool = False
) -> Written:
    """Write a TFLite model.

    TensorFlow's converter writes what it can; ai-edge-quantizer writes int4 and mixed models, and all forms of a model
    that was TFLite before.

    Args:
        loaded: The model.
        scheme: With format ``tflite``.
        calibration: Model inputs, ``(n, *input_shape[1:])``.
        symmetric: Only ONNX asks for it; TFLite's weights are symmetric, its activations never.

    Returns:
        The file's content, and the versions of the libraries that wrote it.

    Raises:
        ConversionError: The model cannot be written so.
    """
    if scheme.needs_calibration and calibration is None:
        raise CalibrationError(f"{scheme.precision} needs calibration data. Give --calibration train.npz.")
    model = loaded.as_tflite()
    if model is None and scheme.precision not in _BY_QUANTIZER:
        return _from_tensorflow(loaded, scheme, calibration)
    if model is not None and scheme.precision == "float32":
        return model, {}
    from converters.quantize.ai_edge_quantizer import requantize

    return requantize(model or _float_of(loaded), scheme, calibration, say=loaded.notes.append)


def _from_tensorflow(loaded: Loaded, scheme: Scheme, calibration: NDArray[np.float32] | None) -> Written:
    from tensorflow import __version__

    versions = {"tensorflow": __version__}
    if scheme.precision == "float32":
        return _float_of(loaded), versions
    content = _convert(loaded, scheme, calibration)
    if scheme.precision == "int8" and calibration is not None:
        floating = _float_of(loaded)
        content = closest(floating, [content], calibration)
        content = smaller_dense(
            floating, content, lambda: _convert(loaded, scheme, calibration, dense_per_channel=False), calibration
        )
    return content, versions


@lru_cache(maxsize=1)
def _float_of(loaded: Loaded) -> bytes:
    """The float model, written once: it is what the others are compared with."""
    return _convert(loaded, Scheme("tflite", "float32"), None)


def _convert(
    loaded: Loaded, scheme: Scheme, calibration: NDArray[np.float32] | None, *, dense_per_channel: bool = True
) -> bytes:
    import tensorflow as tf

    converter: Any = tf.lite.TFLiteConverter.from_saved_model(str(loaded.as_tensorflow()))
    if scheme.precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if scheme.precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if scheme.precision == "dynamic" or not dense_per_channel:
        # In dynamic, per-channel Dense weights make FULLY_CONNECTED version 12, which tflite-runtime 2.14 refuses.
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    if scheme.needs_calibration:
        assert calibration is not None
        converter.representative_dataset = lambda: _batches(calibration)
    if scheme.precision in {"int8", "int8-float-io"}:
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if scheme.precision == "int8":
        converter.inference_input_type = converter.inference_output_type = tf.int8
    if scheme.precision == "int16x8":
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        ]
        converter.inference_input_type = converter.inference_output_type = tf.int16
    try:
        content: bytes = converter.convert()
    except Exception as error:  # TensorFlow's ConverterError has no public name
        raise ConversionError(f"TensorFlow cannot write {scheme.precision} TFLite: {_reason(error)}") from error
    return bytes(content)


def _batches(calibration: NDArray[np.float32]) -> Iterator[list[NDArray[np.float32]]]:
    for window in calibration:
        yield [window[None]]


def _reason(error: Exception) -> str:
    """The telling part of a foreign message: of MLIR's the operator and what is wrong with it, not where it was called.

    Recurrent layers, which come as lists of tensors in a loop, get their cure.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "error:" in line or "not supported" in line.lower()]
    line = (telling or lines or [type(error).__name__])[0]
    operator = _MLIR.search(line)
    told = f"operator {operator.group(1)} {operator.group(2)}" if operator else line
    cure = " It is part of a recurrent layer: build the model with unroll=True." if "TensorList" in line else ""
    return told[:400].rstrip(".") + "." + cure


_MLIR = re.compile(r"'tf\w*\.(\w+)' op (.*)$")
