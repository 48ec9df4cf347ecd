"""Quantizes float TFLite models with ai-edge-quantizer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from ai_edge_quantizer import quantizer, recipe
from ai_edge_quantizer.algorithm_manager import AlgorithmName
from ai_edge_quantizer.calibrator import Calibrator
from ai_edge_quantizer.qtyping import TFLOperationName
from ai_edge_quantizer.recipe_manager import RecipeManager
from ai_edge_quantizer.utils.qsv_utils import min_max_update, moving_average_update
from numpy.typing import NDArray

from converters.evaluate.layers import LayerError
from converters.load.shapes import first_line
from converters.quantize.choice import closest
from converters.quantize.mixed import mixed
from converters.scheme import Scheme
from edge_sdk.base.errors import ConversionError

_RECIPES = {
    "dynamic": recipe.dynamic_wi8_afp32,
    "int8": recipe.static_wi8_ai8,
    "int16x8": recipe.static_wi8_ai16,
    "mixed": recipe.static_wi8_ai8,
}
_ROUNDINGS = (AlgorithmName.MIN_MAX_UNIFORM_QUANT, AlgorithmName.OCTAV, AlgorithmName.MSE)


def requantize(
    model: bytes, scheme: Scheme, calibration: NDArray[np.float32] | None, *, say: Callable[[str], None]
) -> tuple[bytes, dict[str, str]]:
    """Quantize a float TFLite model.

    Args:
        model: The float file.
        scheme: What it is to become.
        calibration: Model inputs; needed where the scheme needs it, used where it is there.
        say: Told what the user should know.

    Raises:
        ConversionError: It cannot become that.
    """
    versions = {"ai-edge-quantizer": version("ai-edge-quantizer")}
    if scheme.precision == "int4":
        return _int4(model, calibration), versions
    if scheme.precision not in _RECIPES:
        raise ConversionError(f"A .tflite source cannot become {scheme.precision}. Convert from the Keras model.")
    wanted = _RECIPES[scheme.precision]()
    if not scheme.needs_calibration:
        return _quantized(model, wanted, None), versions
    assert calibration is not None
    ranges = _ranges(model, wanted, calibration)
    if scheme.precision == "mixed":
        extremes = next(ranges)
        content, kept = mixed(model, lambda out: _quantized(model, [*wanted, *_without(out)], extremes), calibration)
        names = ", ".join(f"#{layer.index} {layer.operator}" for layer in kept)
        say(f"mixed tflite keeps {names or 'no layer'} in float.")
        return closest(model, [content], calibration), versions
    return closest(model, [_quantized(model, wanted, each) for each in ranges], calibration), versions


def _int4(model: bytes, calibration: NDArray[np.float32] | None) -> bytes:
    """Weights of 4 bit, rounded in the way that keeps the answers closest; without data by the extremes."""
    forms = []
    for rounding in _ROUNDINGS[: 1 if calibration is None else None]:
        try:
            forms.append(_quantized(model, recipe.dynamic_wi4_afp32(algorithm_key=rounding), None))
        except ConversionError:
            if not forms:
                raise
    return forms[0] if calibration is None else closest(model, forms, calibration)


def _without(layers: Sequence[LayerError]) -> Iterator[dict[str, Any]]:
    """Recipe entries that leave these layers in float."""
    manager = RecipeManager()
    for layer in layers:
        manager.add_quantization_config(
            regex=re.escape(layer.name),
            operation_name=TFLOperationName.ALL_SUPPORTED,
            algorithm_key=AlgorithmName.NO_QUANTIZE,
        )
    yield from manager.get_quantization_recipe()


def _ranges(model: bytes, wanted: Any, calibration: NDArray[np.float32]) -> Iterator[Any]:
    """Ranges of the activations: by the extremes of all windows, and by their moving average, which cuts outliers off.

    The moving average is ai-edge-quantizer's own choice; it cuts off what is rare and right as well.
    """
    signature, given = _signature_input(model)
    manager = RecipeManager()
    manager.load_quantization_recipe(wanted)
    for update in (min_max_update, moving_average_update):
        calibrator = Calibrator(bytearray(model), num_threads=1, qsv_update_func=update)
        try:
            calibrator.calibrate({signature: [{given: window[None]} for window in calibration]}, manager)
        except (ValueError, RuntimeError) as error:
            raise ConversionError(
                f"ai-edge-quantizer cannot calibrate this model: {first_line(error)} Recurrent layers (LSTM) are known "
                "to fail: convert from the Keras model, which is unrolled, or take --precision dynamic."
            ) from error
        yield calibrator.get_model_qsvs()


def _quantized(model: bytes, wanted: Any, ranges: Any) -> bytes:
    try:
        content = quantizer.Quantizer(bytearray(model), wanted).quantize(ranges).quantized_model
    except (ValueError, RuntimeError) as error:
        raise ConversionError(f"ai-edge-quantizer cannot quantize this model: {first_line(error)}") from error
    if content is None:
        raise ConversionError("ai-edge-quantizer gave nothing back.")
    return bytes(content)


def _signature_input(model: bytes) -> tuple[str, str]:
    from ai_edge_litert.interpreter import Interpreter

    signatures = Interpreter(model_content=model).get_signature_list()
    if not signatures:
        raise ConversionError(
            "The .tflite has no signature, which ai-edge-quantizer needs. Convert from the Keras model."
        )
    [(key, signature)] = list(signatures.items())[:1]
    return key, signature["inputs"][0]
