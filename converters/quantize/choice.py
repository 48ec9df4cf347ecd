"""The choice: of several int8 forms of one model the one whose answers stay closest to float, on data kept aside."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from converters.dataset import subset
from converters.evaluate.layers import answers_of
from converters.quantize.bias import corrected
from converters.quantize.onnx_bias import corrected_onnx
from converters.targets.graph import read_graph

_LIMIT = 64
_ENOUGH_DB = 12.0
_WORTH = 0.05
_ENTRY_BYTES = 24  # scale and zero point of a weight and of a bias


def closest(float_model: bytes, candidates: Iterable[bytes], calibration: NDArray[np.float32]) -> bytes:
    """Each candidate with its biases corrected; the closest of all to the float model.

    Biases are corrected on the even calibration windows, answers compared on the odd ones, so that no form wins by
    having learned the windows that it is judged on. Few windows judge badly between forms that are almost alike: a
    candidate stays uncorrected only where that is closer by more than chance explains, two standard errors. On people
    that no window came from, corrected networks of the demo were the closer ones in 16 cases of 16, and in 8 of them
    the plain smaller error on the odd windows would have said the opposite. Closer is the smaller distance, and for a
    classifier also the float model's label in more windows: probabilities that are all a little off are as far away as
    a few labels that change. Of equals the earlier wins.

    Args:
        float_model: The float model, TFLite or ONNX.
        candidates: int8 models made from it, in its format.
        calibration: Model inputs, ``(n, …)``.
    """
    fitting, judging = halves(calibration)
    wanted = answers_of(float_model, judging)
    correct = corrected if float_model[4:8] == b"TFL3" else corrected_onnx

    best, least = b"", np.inf
    for candidate in candidates:
        model = correct(float_model, candidate, fitting)
        found, plain = (_errors(answers_of(each, judging), wanted) for each in (model, candidate))
        if any(_is_more(one, other) for one, other in zip(found, plain, strict=True)):
            model, found = candidate, plain
        if found[0].mean() < least:
            best, least = model, float(found[0].mean())
    return best


def _errors(answers: NDArray[np.float32], wanted: NDArray[np.float32]) -> list[NDArray[np.float64]]:
    """Of each window the mean distance from what is wanted; of probabilities also whether another label leads."""
    flat, aim = answers.reshape(len(answers), -1), wanted.reshape(len(wanted), -1)
    distances = np.abs(flat - aim).mean(axis=1, dtype=np.float64)
    if aim.shape[1] < 2 or (aim < 0).any() or not np.allclose(aim.sum(axis=1), 1.0, atol=1e-3):
        return [distances]
    return [distances, (flat.argmax(axis=1) != aim.argmax(axis=1)).astype(np.float64)]


def _is_more(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Whether the mean over the same windows is larger by more than two standard errors."""
    gain = one - other
    return bool(gain.mean() > 2 * gain.std() / np.sqrt(len(gain)))


def smaller_dense(
    float_model: bytes, model: bytes, other: Callable[[], bytes], calibration: NDArray[np.float32]
) -> bytes:
    """Give `model`, or its form with one scale for each Dense layer where that saves much and costs little.

    A scale for each channel is the closer one, and the larger: 24 bytes for each output of a Dense layer. The other
    form is taken where the file shrinks by more than 5 % and the answers stay 12 dB above the error.

    Args:
        float_model: The float TFLite model.
        model: int8, a scale for each channel.
        other: Makes the form with one scale for each Dense layer.
        calibration: Model inputs.
    """
    outputs = sum(op.outputs[0].shape[-1] for op in read_graph(model).operators if op.kind == "FULLY_CONNECTED")
    if outputs * _ENTRY_BYTES < _WORTH * len(model):
        return model
    small = closest(float_model, [other()], calibration)
    if len(small) > (1 - _WORTH) * len(model):
        return model
    _, judging = halves(calibration)
    wanted = answers_of(float_model, judging).astype(np.float64)
    noise = answers_of(small, judging) - wanted
    signal = wanted - wanted.mean(axis=0)
    power = float((noise * noise).sum())
    is_enough = power == 0 or 10 * np.log10(max(float((signal * signal).sum()), 1e-30) / power) > _ENOUGH_DB
    return small if is_enough else model


def halves(calibration: NDArray[np.float32]) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
    """Two lots of windows, at most 64 each, the batch of 1 included: one to fit on, the other to judge on."""
    fitting = subset(calibration[::2], _LIMIT)
    judging = subset(calibration[1::2], _LIMIT) if len(calibration) > 1 else fitting
    return [window[None] for window in fitting], [window[None] for window in judging]
