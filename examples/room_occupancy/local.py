"""The five local models: each sees the last eight minutes of its own sensor, and is a linear softmax.

A linear discriminant over the means of the last 1, 2, 4, 8 and 16 samples is linear in the window itself, so it is
written as one Dense layer, converted to int8, and run by the station like any network. Light needs the last sample
alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.pipeline import convert
from converters.recipe import Recipe
from edge_sdk.contract.manifest import Step, Windowing
from edge_sdk.contract.trust import SigningKey
from edge_sdk.windowing.windower import Windower
from examples.room_occupancy.data import CHANNELS, LABELS, Room, day_of

RATE_HZ = 1 / 30
_MEANS = (1, 2, 4, 8, 16)


def windowing(kind: str) -> Windowing:
    """How a kind's samples become windows. Rows come every 30 s, and one of seventy is missing."""
    length = 2 if kind == "light" else 16
    return Windowing(length=length, stride=1, rate_hz=RATE_HZ, minimum_coverage=0.5)


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """All windows of one kind of sensor: as the station will cut them, from the same code.

    Attributes:
        x: float32 ``(n, length, channels)``.
        y: int64 ``(n,)``, people.
        t_ns: int64 ``(n,)``, end of each.
        days: ``(n,)``.
    """

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    t_ns: NDArray[np.int64]
    days: NDArray[np.str_]


def windows(room: Room, kind: str) -> Windows:
    """Cut the whole recording."""
    windower = Windower(windowing(kind), sensor=kind, channels=len(CHANNELS[kind]))
    cut = [window for reading in room.readings(kind, room.days) for window in windower.push(reading)]
    cut = [window for window in cut if window.coverage >= windowing(kind).minimum_coverage]
    t_ns = np.array([window.end_ns for window in cut], dtype=np.int64)
    return Windows(np.stack([window.samples for window in cut]), room.truth(t_ns), t_ns, day_of(t_ns))


@dataclass(frozen=True, slots=True, eq=False)
class Discriminant:
    """A linear softmax over a standardised window.

    Attributes:
        mean: float64 ``(channels,)``.
        std: float64 ``(channels,)``.
        weights: float64 ``(length · channels, 4)``.
        bias: float64 ``(4,)``; minus 50 for a number of people never seen in training.
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]

    def probabilities(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """float64 ``(n, 4)`` for windows ``(n, length, channels)``."""
        flat = ((x - self.mean) / self.std).reshape(len(x), -1)
        logits = flat @ self.weights + self.bias
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        out: NDArray[np.float64] = raised / raised.sum(axis=1, keepdims=True)
        return out


def train(x: NDArray[np.float32], y: NDArray[np.int64]) -> Discriminant:
    """Fit to windows ``(n, length, channels)``, every number of people counting alike: days differ in their share."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    _, length, channels = x.shape
    mean = x.mean(axis=(0, 1), dtype=np.float64)
    std = x.std(axis=(0, 1), dtype=np.float64) + 1e-6
    pooling = _pooling(length, channels)
    features = ((x - mean) / std).reshape(len(x), -1) @ pooling
    seen = np.unique(y)
    fitted = LinearDiscriminantAnalysis(priors=np.full(len(seen), 1 / len(seen))).fit(features, y)
    weights, bias = np.zeros((length * channels, len(LABELS))), np.full(len(LABELS), -50.0)
    coefficients, intercepts = fitted.coef_, fitted.intercept_
    if len(seen) == 2:  # of two classes the first is what the second is measured from
        coefficients, intercepts = np.vstack([0 * coefficients, coefficients]), np.append(0.0, intercepts)
    weights[:, seen], bias[seen] = pooling @ coefficients.T, intercepts
    shift = weights[:, seen].mean(axis=1, keepdims=True)  # the softmax does not see it, the quantizer does
    weights[:, seen] -= shift
    bias[seen] -= bias[seen].mean()
    return Discriminant(mean, std, weights, bias)


def joint(parts: Sequence[NDArray[np.float64]], y: NDArray[np.int64], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Probabilities ``(n, 4)`` of one discriminant over the windows of all sensors, fitted to the rows `seen`."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    features = np.hstack([part.reshape(len(part), -1) @ _pooling(*part.shape[1:]) for part in parts])
    features = (features - features[seen].mean(axis=0)) / (features[seen].std(axis=0) + 1e-6)
    labels = np.unique(y[seen])
    fitted = LinearDiscriminantAnalysis(priors=np.full(len(labels), 1 / len(labels))).fit(features[seen], y[seen])
    out = np.zeros((len(y), len(LABELS)))
    out[:, labels] = fitted.predict_proba(features)
    return out


def _pooling(length: int, channels: int) -> NDArray[np.float64]:
    """Matrix from a flat window to its means over the last 1, 2, 4, 8 and 16 samples; of light the last alone."""
    means = [1] if length == 2 else list(_MEANS)
    pooling = np.zeros((length * channels, len(means) * channels))
    for index, last in enumerate(means):
        for channel in range(channels):
            rows = np.arange(length - last, length) * channels + channel
            pooling[rows, index * channels + channel] = 1.0 / last
    return pooling


def bundle(model: Discriminant, kind: str, training: Windows, out: Path, key: SigningKey) -> None:
    """Write the model as Keras, convert it to int8 and sign it."""
    import keras

    length, channels = training.x.shape[1:]
    network = keras.Sequential(
        [
            keras.Input((length, channels), batch_size=1),
            keras.layers.Flatten(),
            keras.layers.Dense(len(LABELS), activation="softmax"),
        ]
    )
    network.layers[-1].set_weights([model.weights.astype(np.float32), model.bias.astype(np.float32)])
    source = out.with_suffix(".keras")
    network.save(source)
    recipe = Recipe(
        name=kind,
        task="classification",
        sensor=kind,
        channels=CHANNELS[kind],
        windowing=windowing(kind),
        preprocess=(Step(kind="standardize", options={"mean": model.mean.tolist(), "std": model.std.tolist()}),),
        labels=LABELS,
    )
    sample = _spread(training)
    convert(
        source,
        recipe,
        out=out,
        calibration=training.x[sample],
        evaluate=(training.x[sample], training.y[sample]),
        precision=["int8"],
        formats=["tflite"],
        key=key,
    )


def _spread(training: Windows, each: int = 150) -> NDArray[np.intp]:
    """Rows for calibration: the same number for each number of people, spread over time."""
    rows: list[NDArray[np.intp]] = []
    for label in range(len(LABELS)):
        there = np.flatnonzero(training.y == label)
        if len(there):
            rows.append(there[np.linspace(0, len(there) - 1, min(each, len(there))).astype(np.intp)])
    return np.concatenate(rows)


def blocks(t_ns: NDArray[np.int64], folds: int) -> Sequence[NDArray[np.bool_]]:
    """Hours dealt out to folds in turn: which windows belong to each."""
    hour = t_ns // 3_600_000_000_000
    return [hour % folds == fold for fold in range(folds)]
