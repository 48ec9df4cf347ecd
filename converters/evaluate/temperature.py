"""Temperature: how sure a classifier may be of itself, fitted on windows that it was not trained on."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

_LOW, _HIGH = math.log(0.25), math.log(8.0)
_PRIOR = 10.0
_GOLDEN = (math.sqrt(5) - 1) / 2
LEAST_WINDOWS = 50
_BINS = 15


class Temper(msgspec.Struct, frozen=True, kw_only=True):
    """A fitted temperature and what it is worth.

    Attributes:
        temperature: Logits are divided by it (Guo et al. 2017): above 1 the model was too sure of itself.
        n: Windows that it was fitted on.
        ece_before: Expected calibration error without it: how far confidence is from accuracy, 0 to 1.
        ece: The same with it.
        nll_before: Mean negative log-likelihood of the truth without it.
        nll: The same with it.
    """

    temperature: float
    n: int
    ece_before: float
    ece: float
    nll_before: float
    nll: float


def fit_temperature(probabilities: NDArray[Any], truth: NDArray[Any]) -> Temper | None:
    """Find the temperature under which the truth is likeliest; a little drawn to 1, as 10 windows would draw it.

    Args:
        probabilities: ``(n, n_classes)``, as the model gives them.
        truth: ``(n,)`` class numbers, of windows that the model was not trained on.

    Returns:
        None where there are fewer than 50 windows, or it changes nothing.
    """
    if len(truth) < LEAST_WINDOWS:
        return None
    logits = np.log(np.clip(np.asarray(probabilities, np.float64), 1e-7, 1.0))  # an int8 softmax says 0 for 1/512

    def cost(log_t: float) -> float:
        return _nll(logits / math.exp(log_t), truth) * len(truth) + 0.5 * _PRIOR * log_t * log_t

    low, high = _LOW, _HIGH
    while high - low > 1e-4:
        step = _GOLDEN * (high - low)
        low, high = (low, low + step) if cost(high - step) < cost(low + step) else (high - step, high)
    temperature = round(math.exp((low + high) / 2), 4)
    before, after = _softmax(logits), _softmax(logits / temperature)
    found = Temper(
        temperature=temperature,
        n=len(truth),
        ece_before=ece(before, truth),
        ece=ece(after, truth),
        nll_before=_nll(logits, truth),
        nll=_nll(logits / temperature, truth),
    )
    return found if found.nll < found.nll_before else None


def ece(probabilities: NDArray[np.float64], truth: NDArray[Any]) -> float:
    """Expected calibration error over 15 bins of equal width (Naeini et al. 2015)."""
    confidence = probabilities.max(axis=1)
    is_right = probabilities.argmax(axis=1) == truth
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = [
        abs(float(is_right[bins == b].mean() - confidence[bins == b].mean())) * int((bins == b).sum())
        for b in np.unique(bins)
    ]
    return sum(gaps) / len(truth)


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _nll(logits: NDArray[np.float64], truth: NDArray[Any]) -> float:
    return float(-np.log(_softmax(logits)[np.arange(len(truth)), truth] + 1e-12).mean())
