"""Writes TFLite models with TensorFlow's converter, or with ai-edge-quantizer where the source is TFLite already."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.load.base import Loaded
from converters.quantize.choice import closest, smaller_dense
from converters.scheme import Scheme
from edge_sdk.base.errors import CalibrationError, ConversionError

Written = tuple[bytes, dict[str, str]]


def write_tflite(
    loaded: Loaded, scheme: Scheme, calibration: NDArray[np.float32] | None, *, symmetric: bool = False
) -> Written:
    """Write a TFLite model.

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
    if model is not None:
        return _from_tflite(model, scheme, calibration, loaded)
    return _from_tensorflow(loaded, scheme, calibration)


def _from_tensorflow(loaded: Loaded, scheme: Scheme, calibration: NDArray[np.float32] | None) -> Written:
    from tensorflow import __version__

    content = _convert(loaded, scheme, calibration)
    if scheme.precision == "int8" and calibration is not None:
        floating = _convert(loaded, Scheme("tflite", "float32"), None)
        content = closest(floating, [content], calibration)
        content = smaller_dense(
            floating, content, lambda: _convert(loaded, scheme, calibration, dense_per_channel=False), calibration
        )
    return content, {"tensorflow": __version__}


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
    if scheme.precision == "int8":
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
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


def _from_tflite(model: bytes, scheme: Scheme, calibration: NDArray[np.float32] | None, loaded: Loaded) -> Written:
    from importlib.metadata import version

    if scheme.precision == "float32":
        return model, {}
    from ai_edge_quantizer import quantizer as aeq
    from ai_edge_quantizer import recipe as recipes

    chosen = {
        "dynamic": recipes.dynamic_wi8_afp32,
        "int8": recipes.static_wi8_ai8,
        "int16x8": recipes.static_wi8_ai16,
    }.get(scheme.precision)
    if chosen is None:
        raise ConversionError(f"A .tflite source cannot become {scheme.precision}. Convert from the Keras model.")
    quantizer = aeq.Quantizer(bytearray(model), chosen())
    versions = {"ai-edge-quantizer": version("ai-edge-quantizer")}
    if not scheme.needs_calibration:
        return _content(quantizer.quantize(None)), versions
    assert calibration is not None
    forms = [_content(quantizer.quantize(ranges)) for ranges in _ranges(model, chosen(), calibration)]
    return closest(model, forms, calibration), versions


def _ranges(model: bytes, recipe: Any, calibration: NDArray[np.float32]) -> Iterator[Any]:
    """Ranges of the activations: by the extremes of all windows, and by their moving average, which cuts outliers off.

    The moving average is ai-edge-quantizer's own choice; it cuts off what is rare and right as well.
    """
    from ai_edge_quantizer.calibrator import Calibrator
    from ai_edge_quantizer.recipe_manager import RecipeManager
    from ai_edge_quantizer.utils.qsv_utils import min_max_update, moving_average_update

    signature, given = _signature_input(model)
    manager = RecipeManager()
    manager.load_quantization_recipe(recipe)
    for update in (min_max_update, moving_average_update):
        calibrator = Calibrator(bytearray(model), num_threads=1, qsv_update_func=update)
        try:
            calibrator.calibrate({signature: [{given: window[None]} for window in calibration]}, manager)
        except (ValueError, RuntimeError) as error:
            raise ConversionError(
                f"ai-edge-quantizer cannot calibrate this model: {_reason(error)} Recurrent layers (LSTM) are known "
                "to fail: convert from the Keras model with unroll=True, or take --precision dynamic."
            ) from error
        yield calibrator.get_model_qsvs()


def _content(result: Any) -> bytes:
    if result.quantized_model is None:
        raise ConversionError("ai-edge-quantizer gave nothing back.")
    return bytes(result.quantized_model)


def _signature_input(model: bytes) -> tuple[str, str]:
    from ai_edge_litert.interpreter import Interpreter

    signatures = Interpreter(model_content=model).get_signature_list()
    if not signatures:
        raise ConversionError(
            "The .tflite has no signature, which ai-edge-quantizer needs. Convert from the Keras model."
        )
    [(key, signature)] = list(signatures.items())[:1]
    return key, signature["inputs"][0]


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
