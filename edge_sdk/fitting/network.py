"""A small network, trained in plain numpy, with contributors taken away while it learns."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Layers = list[tuple[Matrix, Matrix]]
_BATCH = 256
_WORST = 25.0  # squared deviations; one freak must not make everything uncertain


@dataclass(frozen=True, slots=True)
class Training:
    """How a network is trained.

    Attributes:
        hidden: Units of each hidden layer (ReLU); none = linear.
        steps: How many batches of 256 rows it sees; 0 = as many as make twelve rounds, 1000 at least, 3000 at most.
        rate: Learning rate of Adam (Kingma & Ba 2015) at the start; it falls to nothing as a cosine.
        decay: L2 penalty of weights.
        hide: Share of rows that are shown with some contributors taken away.
        seed: Of the initial weights, the order of rows, and who is taken away.
    """

    hidden: tuple[int, ...] = (24,)
    steps: int = 0
    rate: float = 4e-3
    decay: float = 1e-4
    hide: float = 0.6
    seed: int = 1


def train(x: Matrix, y: NDArray[np.int64] | Matrix, widths: Sequence[int], classes: int, how: Training) -> Layers:
    """Fit a network to rows.

    Classes are learned by cross-entropy. Estimates are learned by squared error, and beside them, by likelihood, the
    logarithm of their deviation (Nix & Weigend 1994; the mean's gradient is not divided by the variance, which would
    let it give up where it errs, Seitzer et al. 2022).

    Args:
        x: float64 ``(n, sum(widths))``: the contributors' columns side by side, each one's last column its mask.
        y: Class indices ``(n,)``, or standardised targets ``(n,)``.
        widths: Columns of each contributor.
        classes: How many classes there are; 0 = estimates.
        how: How.

    Returns:
        Weights and bias of each layer; the last one gives `classes` logits, or estimate and log-deviation.
    """
    rng = np.random.default_rng(how.seed)
    sizes = [x.shape[1], *how.hidden, classes or 2]
    layers = [
        (rng.normal(size=(n_in, n_out)) * np.sqrt((2.0 if n_out != sizes[-1] else 1.0) / n_in), np.zeros(n_out))
        for n_in, n_out in itertools.pairwise(sizes)
    ]
    flat = [array for layer in layers for array in layer]
    moments = [(np.zeros_like(array), np.zeros_like(array)) for array in flat]
    batch = min(_BATCH, len(x))
    n_steps = how.steps or min(3000, max(1000, 12 * len(x) // batch))
    order = rng.permutation(len(x))
    low = 0
    for step in range(1, n_steps + 1):
        if low + batch > len(x):
            order, low = rng.permutation(len(x)), 0
        rows, low = order[low : low + batch], low + batch
        gradients = _gradients(layers, hidden_some(x[rows], widths, how.hide, rng), y[rows], classes, how.decay)
        rate = how.rate * 0.5 * (1 + np.cos(np.pi * step / n_steps))
        for array, gradient, (mean, square) in zip(flat, gradients, moments, strict=True):
            mean += 0.1 * (gradient - mean)
            square += 0.001 * (gradient**2 - square)
            array -= rate * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
    return layers


def hidden_some(x: Matrix, widths: Sequence[int], share: float, rng: np.random.Generator) -> Matrix:
    """Rows with some contributors taken away: of the given share, each goes with even odds, but never all of them."""
    ends = np.cumsum(widths)
    there = x[:, ends - 1] > 0
    n, n_parts = there.shape
    kept = (rng.random((n, n_parts)) < 0.5) | (rng.random((n, 1)) >= share)
    kept |= ~(kept & there).any(axis=1, keepdims=True)
    return x * np.repeat(kept, widths, axis=1)


def _gradients(layers: Layers, x: Matrix, y: NDArray[np.int64] | Matrix, classes: int, decay: float) -> list[Matrix]:
    seen = [x]
    for weights, bias in layers[:-1]:
        seen.append(np.maximum(seen[-1] @ weights + bias, 0.0))
    weights, bias = layers[-1]
    out = seen[-1] @ weights + bias
    if classes:
        raised = np.exp(out - out.max(axis=1, keepdims=True))
        error = raised / raised.sum(axis=1, keepdims=True)
        error[np.arange(len(y)), y.astype(np.intp)] -= 1.0
    else:
        gap = out[:, 0] - y
        log_std = np.clip(out[:, 1], -4.0, 4.0)
        error = np.stack([gap, 0.1 * (1.0 - np.minimum(gap**2 * np.exp(-2 * log_std), _WORST))], axis=1)
    error /= len(y)
    backwards: list[Matrix] = []
    for index in range(len(layers) - 1, -1, -1):
        weights, _ = layers[index]
        backwards += [error.sum(axis=0), seen[index].T @ error + decay * weights]
        if index:
            error = (error @ weights.T) * (seen[index] > 0)
    return backwards[::-1]
