"""Mixed precision: int8, and in float the few layers whose rounding costs the answer most."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from converters.evaluate.layers import LayerError, answers_of, layer_errors
from converters.quantize.choice import halves

_WITH_WEIGHTS = {
    "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL",
    "Conv", "ConvTranspose", "Gemm", "MatMul",
}  # fmt: skip
_GAIN = 0.5
_SHARES = (16, 8, 4, 2)
_LOOKED_AT = 16


def mixed(
    float_model: bytes, make: Callable[[Sequence[LayerError]], bytes], calibration: NDArray[np.float32]
) -> tuple[bytes, tuple[LayerError, ...]]:
    """Leave as few layers in float as halve the error of the answer.

    Layers are ranked by the error that each adds to what reaches it. One, then two, then a sixteenth, an eighth … of
    them stay in float, until the answer's error is half of the wholly quantized model's, on windows that the ranking
    did not see; if none gets there, the closest is taken.

    Args:
        float_model: Float TFLite or ONNX.
        make: Quantizes all layers but those given.
        calibration: Model inputs, ``(n, …)``.

    Returns:
        The model, and the layers that stayed float, the most sensitive first.
    """
    ranking, judging = halves(calibration)
    wanted = answers_of(float_model, judging)

    def error(model: bytes) -> float:
        return float(np.abs(answers_of(model, judging) - wanted).mean())

    whole = make(())
    ranked = by_sensitivity(layer_errors(float_model, whole, ranking[:_LOOKED_AT]))
    limit = _GAIN * error(whole)
    best, least = whole, error(whole)
    kept: tuple[LayerError, ...] = ()
    for count in sorted({1, 2, *(len(ranked) // share for share in _SHARES)} & set(range(1, len(ranked) + 1))):
        model = make(ranked[:count])
        if (found := error(model)) < least:
            best, kept, least = model, ranked[:count], found
        if least <= limit:
            break
    return best, kept


def by_sensitivity(layers: Sequence[LayerError]) -> tuple[LayerError, ...]:
    """Layers with weights, by the share of noise that each adds to the noise before it, the worst first."""
    noise = [10 ** (-layer.sqnr_db / 10) for layer in layers]
    fresh = {layer: now - before for layer, now, before in zip(layers, noise, [0.0, *noise], strict=False)}
    return tuple(sorted((each for each in layers if each.operator in _WITH_WEIGHTS), key=lambda each: -fresh[each]))
