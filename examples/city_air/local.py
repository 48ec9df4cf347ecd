"""The two local models: a small network over the last 24 hours of its own sensors; it learns the root of PM2.5."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.pipeline import convert
from converters.recipe import Recipe
from edge_sdk.contract.manifest import Step, Windowing
from edge_sdk.contract.trust import SigningKey
from edge_sdk.windowing.windower import Windower
from examples.city_air.data import CHANNELS, HOUR_NS, Station

WINDOWING = Windowing(length=24, stride=1, rate_hz=1 / 3600, minimum_coverage=0.75)
_LOW, _HIGH = -4.0, 6.0  # of the standardised input: dust storms are not worth the range of all other days


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Windows of one kind of sensor at one station.

    Attributes:
        x: float32 ``(n, 24, channels)``.
        y: float64 ``(n,)``, PM2.5 at the last hour; NaN where it was not measured.
        t_ns: int64 ``(n,)``, end of each.
    """

    x: NDArray[np.float32]
    y: NDArray[np.float64]
    t_ns: NDArray[np.int64]


def windows(station: Station, kind: str, rows: slice) -> Windows:
    """Cut a stretch as the station will."""
    windower = Windower(WINDOWING, sensor=kind, channels=len(CHANNELS[kind]))
    cut = [window for reading in station.readings(kind, rows) for window in windower.push(reading)]
    cut = [window for window in cut if window.coverage >= WINDOWING.minimum_coverage]
    t_ns = np.array([window.end_ns for window in cut], dtype=np.int64)
    return Windows(np.stack([window.samples for window in cut]), truth(station, t_ns), t_ns)


def truth(station: Station, t_ns: NDArray[np.int64]) -> NDArray[np.float64]:
    """PM2.5 in the last hour of windows that end then; NaN where it was not measured."""
    hours = (t_ns - HOUR_NS - station.t_ns[0]) // HOUR_NS
    known = hours < len(station.pm25)
    return np.where(known, station.pm25[np.where(known, hours, 0)], np.nan)


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A network and what standardises its input.

    Attributes:
        mean: float64 ``(channels,)``.
        std: float64 ``(channels,)``.
        layers: Weights and bias of each dense layer.
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    layers: list[tuple[NDArray[np.float64], NDArray[np.float64]]]


def train(x: NDArray[np.float32], y: NDArray[np.float64], *, epochs: int, rows: int, seed: int = 1) -> Trained:
    """Fit to windows ``(n, 24, channels)``, at most `rows` of them: the root of PM2.5, by squared error."""
    from sklearn.neural_network import MLPRegressor

    rng = np.random.default_rng(seed)
    pick = rng.choice(len(x), min(rows, len(x)), replace=False)
    x, y = x[pick], y[pick]
    mean, std = x.mean(axis=(0, 1), dtype=np.float64), x.std(axis=(0, 1), dtype=np.float64) + 1e-6
    scaled = np.clip((x - mean) / std, _LOW, _HIGH).reshape(len(x), -1)
    network = MLPRegressor(
        hidden_layer_sizes=(64, 24),
        batch_size=512,
        learning_rate_init=2e-3,
        max_iter=epochs,
        alpha=1e-3,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the number of epochs is chosen; that it could learn on is known
        network.fit(scaled, np.sqrt(y))
    return Trained(mean, std, list(zip(network.coefs_, network.intercepts_, strict=True)))


def bundle(
    trained: Trained, kind: str, x: NDArray[np.float32], y: NDArray[np.float64], out: Path, key: SigningKey
) -> None:
    """Convert to int8 and sign."""
    import keras

    given = keras.Input(x.shape[1:], batch_size=1)
    seen = keras.layers.Flatten()(given)
    for index, (weights, bias) in enumerate(trained.layers):
        layer = keras.layers.Dense(weights.shape[1], activation="relu", name=f"dense{index}")
        seen = layer(seen)
        layer.set_weights([weights.astype(np.float32), bias.astype(np.float32)])
    network = keras.Model(given, keras.layers.Multiply()([seen, seen]))
    source = out.with_suffix(".keras")
    network.save(source)
    recipe = Recipe(
        name=kind,
        task="regression",
        sensor=kind,
        channels=CHANNELS[kind],
        windowing=WINDOWING,
        preprocess=(
            Step(kind="standardize", options={"mean": trained.mean.tolist(), "std": trained.std.tolist()}),
            Step(kind="clip", options={"minimum": _LOW, "maximum": _HIGH}),
        ),
        unit="µg/m³",
    )
    pick = np.random.default_rng(1).choice(len(x), min(600, len(x)), replace=False)
    convert(
        source,
        recipe,
        out=out,
        calibration=x[pick],
        evaluate=(x[pick], y[pick]),
        precision=["int8"],
        formats=["tflite"],
        key=key,
    )
