"""Writes the Keras models that the tests convert; run as a program, so that tests need no TensorFlow in process."""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tests.converters.custom_layers import Squash

LENGTH, CHANNELS, CLASSES = 32, 2, 3


def main(folder: Path) -> None:
    keras.utils.set_random_seed(1)
    layers = keras.layers
    train_x, train_y = windows(600, seed=1)
    test_x, test_y = windows(300, seed=2)
    np.savez(folder / "train.npz", x=train_x, y=train_y)
    np.savez(folder / "test.npz", x=test_x, y=test_y)
    body = [
        layers.Conv1D(6, 5, activation="relu"),
        layers.BatchNormalization(),
        layers.GlobalAveragePooling1D(),
        layers.Dense(CLASSES),
    ]
    logits = keras.Sequential([keras.Input((LENGTH, CHANNELS)), *body])
    logits.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    logits.optimizer.learning_rate = 0.02
    logits.fit(train_x / 10, train_y, epochs=12, batch_size=64, verbose=0)
    model = keras.Sequential([*logits.layers, layers.Softmax()])
    model.build((None, LENGTH, CHANNELS))
    model.save(folder / "model.keras")
    logits.save(folder / "logits.h5")
    model.export(str(folder / "saved_model"), verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved_model"))
    (folder / "float.tflite").write_bytes(converter.convert())
    weight = model.layers[0].weights[0]
    values = np.asarray(weight).copy()
    values[0, 0, 0] = np.nan
    weight.assign(values)
    model.save(folder / "nan.keras")
    _two_ports(folder, train_x / 10, train_y)
    for name, layer in (("custom", Squash(3.0)), ("lambda", layers.Lambda(lambda x: 2 * x, name="doubled"))):
        given = keras.Input((LENGTH, CHANNELS))
        hidden = layers.GlobalAveragePooling1D()(layer(layers.Conv1D(4, 3)(given)))
        keras.Model(given, layers.Dense(CLASSES, activation="softmax")(hidden)).save(folder / f"{name}.keras")
        if name == "custom":
            keras.models.load_model(folder / "custom.keras", {"Squash": Squash}).save(folder / "custom.h5")
    recurrent = keras.Sequential(
        [keras.Input((LENGTH, CHANNELS)), layers.LSTM(4), layers.Dense(CLASSES, activation="softmax")]
    )
    recurrent.save(folder / "recurrent.keras")
    recurrent.export(str(folder / "loops"), verbose=False)
    long = keras.Sequential([keras.Input((300, 1)), layers.LSTM(2), layers.Dense(CLASSES, activation="softmax")])
    long.save(folder / "long.keras")


def _two_ports(folder: Path, x: np.ndarray, y: np.ndarray) -> None:
    """Two inputs, one channel each; two outputs, the features first."""
    layers = keras.layers
    left, right = keras.Input((LENGTH, 1), name="left"), keras.Input((LENGTH, 1), name="right")
    hidden = layers.Conv1D(6, 5, activation="relu")(layers.Concatenate()([left, right]))
    features = layers.Dense(5, activation="relu", name="embedding")(layers.GlobalMaxPooling1D()(hidden))
    label = layers.Dense(CLASSES, activation="softmax", name="label")(features)
    trained = keras.Model([left, right], label)
    trained.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    trained.fit([x[..., :1], x[..., 1:]], y, epochs=10, batch_size=64, verbose=0)
    keras.Model([left, right], [features, label]).save(folder / "two_ports.keras")
    both = keras.Input((LENGTH, CHANNELS))
    one = keras.Model(both, keras.Model([left, right], [features, label])([both[..., :1], both[..., 1:]]))
    one.export(str(folder / "two_outputs"), verbose=False)
    (folder / "two_outputs.tflite").write_bytes(
        tf.lite.TFLiteConverter.from_saved_model(str(folder / "two_outputs")).convert()
    )


def windows(n: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sines of three frequencies, in units of a tenth, with noise."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, n)
    t = np.arange(LENGTH) / LENGTH
    phase = rng.uniform(0, 2 * np.pi, (n, 1, CHANNELS))
    x = np.sin(2 * np.pi * np.array([1, 3, 7])[y][:, None, None] * t[None, :, None] + phase)
    return (10 * (x + rng.normal(0, 0.2, x.shape))).astype(np.float32), y


if __name__ == "__main__":
    main(Path(sys.argv[1]))
