"""The encoders: one network for each kind of sensor, that sees its own last 24 hours and nothing else.

Each gives an estimate of PM2.5 and a vector of features. They are trained together, with a head that fuses their
features while sensors are taken away; the head itself is thrown away, for the station's fuser is fitted to what the
int8 models really say. So the features are made to be fused, and every model still runs by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_sdk.fitting.network import Training

LOW, HIGH = -4.0, 6.0
"""Of the standardised input: dust storms are not worth the range of all other days."""

_BATCH = 512
_HIDE = 0.1
_PLAIN = Training(hidden=(32,))


@dataclass(frozen=True, slots=True)
class Shape:
    """How the networks are built and trained; chosen on the stations and years before the test.

    Attributes:
        hidden: Units of the hidden layers.
        features: Units that are handed on.
        epochs: How often everything is seen.
        rate: Learning rate at the start.
        decay: L2 penalty.
        dropout: Of the gas and history networks.
        weather_dropout: Of the weather network, which all stations share and which is learned by heart most easily.
        fuser: How the stack is trained on what the int8 models say.
    """

    hidden: tuple[int, ...] = (128, 64)
    features: int = 16
    epochs: int = 8
    rate: float = 2e-3
    decay: float = 3e-3
    dropout: float = 0.1
    weather_dropout: float = 0.25
    fuser: Training = _PLAIN


NOW = Shape()
AHEAD = Shape(
    hidden=(96, 48),
    features=12,
    decay=8e-3,
    dropout=0.25,
    weather_dropout=0.4,
    fuser=Training(hidden=(32,), steps=1000, decay=1e-2),
)
"""What is to come hangs less on the details of what was, which are then learned by heart."""


@dataclass(frozen=True, slots=True, eq=False)
class Encoders:
    """Trained networks.

    Attributes:
        networks: By kind: Keras models from ``(n, 24 · channels)``, standardised, to root (standardised) and features.
        scales: By kind: mean and deviation of each channel.
        centre: Mean of the root of PM2.5.
        scale: Its deviation.
    """

    networks: dict[str, Any]
    scales: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
    centre: float
    scale: float

    def said(self, kind: str, x: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Estimates in µg/m³ ``(n,)`` and features ``(n, features)`` of windows ``(n, 24, channels)``."""
        root, features = self.networks[kind].predict(standardised(x, self.scales[kind]), batch_size=4096, verbose=0)
        value = np.maximum(root[:, 0].astype(np.float64) * self.scale + self.centre, 0.0) ** 2
        return value, features.astype(np.float64)

    def whole(self, kind: str) -> Any:
        """A Keras model from one standardised window ``(1, 24, channels)`` to the estimate and the features."""
        import keras

        network = self.networks[kind]
        channels = len(self.scales[kind][0])
        given = keras.Input((network.input_shape[1] // channels, channels), batch_size=1)
        root, features = network(keras.layers.Flatten()(given))
        root = keras.layers.Rescaling(self.scale, self.centre)(root)
        root = keras.layers.ReLU()(root)
        estimate = keras.layers.Multiply(name="estimate")([root, root])
        handed_on = keras.layers.Activation("linear", name="features")(features)
        return keras.Model(given, [estimate, handed_on])


def standardised(
    x: NDArray[np.float32], scales: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> NDArray[np.float32]:
    """Windows as the network sees them, ``(n, 24 · channels)``; zeros where there is none."""
    mean, std = scales
    return np.nan_to_num(np.clip((x - mean) / std, LOW, HIGH)).astype(np.float32).reshape(len(x), -1)


def train(
    x: dict[str, NDArray[np.float32]],
    there: dict[str, NDArray[np.bool_]],
    y: NDArray[np.float64],
    shape: Shape,
    *,
    seed: int = 1,
) -> Encoders:
    """Fit the encoders of all kinds together: the root of PM2.5, by squared error."""
    import keras

    keras.utils.set_random_seed(seed)
    kinds, n = tuple(x), len(y)
    scales = {kind: _scales(x[kind][there[kind]]) for kind in kinds}
    inputs = [standardised(x[kind], scales[kind]) for kind in kinds]
    root = np.sqrt(y)
    centre, scale = float(root.mean()), float(root.std())
    target = ((root - centre) / scale).astype(np.float32)[:, None]
    networks = {kind: _network(one.shape[1], kind, shape) for kind, one in zip(kinds, inputs, strict=True)}
    model = _joined(list(networks.values()), shape)
    steps = n // _BATCH * shape.epochs
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(shape.rate, max(1, steps))),
        loss=["mse"] * (len(kinds) + 1),
        loss_weights=[1.0, *[0.5] * len(kinds)],
    )
    rng = np.random.default_rng(seed)
    present = np.stack([there[kind] for kind in kinds], axis=1)
    weights = [np.ones(n, dtype=np.float32), *(there[kind].astype(np.float32) for kind in kinds)]
    for _ in range(shape.epochs):
        masks = _some_hidden(present, rng).astype(np.float32)
        order = rng.permutation(n)[: n // _BATCH * _BATCH]
        model.fit(
            [one[order] for one in (*inputs, masks)],
            [target[order]] * (len(kinds) + 1),
            sample_weight=[weight[order] for weight in weights],
            batch_size=_BATCH,
            shuffle=False,
            verbose=0,
        )
    return Encoders(networks, scales, centre, scale)


def _scales(x: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return x.mean(axis=(0, 1), dtype=np.float64), x.std(axis=(0, 1), dtype=np.float64) + 1e-6


def _network(n_inputs: int, kind: str, shape: Shape) -> Any:
    import keras

    dropout = shape.weather_dropout if kind == "weather" else shape.dropout
    given = keras.Input((n_inputs,))
    seen = given
    for units in shape.hidden:
        seen = keras.layers.Dense(units, activation="relu", kernel_regularizer=keras.regularizers.L2(shape.decay))(seen)
        seen = keras.layers.Dropout(dropout)(seen)
    features = keras.layers.Dense(shape.features, activation="relu")(seen)
    return keras.Model(given, [keras.layers.Dense(1)(features), features], name=kind)


def _joined(networks: Sequence[Any], shape: Shape) -> Any:
    """All encoders under one head, which sees their features and who is there."""
    import keras

    inputs = [keras.Input(network.input_shape[1:]) for network in networks]
    masks = keras.Input((len(networks),))
    answers = [network(given) for network, given in zip(networks, inputs, strict=True)]
    shown = []
    for index, (_, features) in enumerate(answers):
        mask = keras.layers.Lambda(lambda m, at=index: m[:, at : at + 1], output_shape=(1,))(masks)
        shown.append(keras.layers.Multiply()([features, mask]))
    seen = keras.layers.Dense(2 * shape.features, activation="relu")(keras.layers.Concatenate()([*shown, masks]))
    return keras.Model([*inputs, masks], [keras.layers.Dense(1)(seen), *(root for root, _ in answers)])


def _some_hidden(present: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    kept = present & (rng.random(present.shape) >= _HIDE)
    nobody = ~kept.any(axis=1)
    kept[nobody] = present[nobody]
    return kept
