"""Trains two small models on 28 x 28 images of drawn shapes: a CNN and an unrolled LSTM; run as a program."""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np

SIZE, CLASSES = 28, 4


def main(folder: Path) -> None:
    keras.utils.set_random_seed(1)
    layers = keras.layers
    train_x, train_y = images(3000, seed=1)
    test_x, test_y = images(1500, seed=2)
    np.savez(folder / "train.npz", x=train_x, y=train_y)
    np.savez(folder / "test.npz", x=test_x, y=test_y)
    cnn = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 1)),
            layers.Conv2D(8, 3, strides=2, activation="relu"),
            layers.DepthwiseConv2D(3, activation="relu"),
            layers.BatchNormalization(),
            layers.Conv2D(16, 3, strides=2, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    lstm = keras.Sequential(
        [
            keras.Input((SIZE, SIZE)),
            layers.LSTM(24, unroll=True),
            layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    for name, model, x in (("cnn", cnn, train_x), ("lstm", lstm, train_x[..., 0])):
        model.compile(keras.optimizers.Adam(0.005), "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(x / 255, train_y, epochs=8, batch_size=64, verbose=0)
        model.save(folder / f"{name}.keras")


def images(n: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Bars, rings, crosses and diagonals of random place and width, in noise; grey values 0 to 255."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, n)
    rows, columns = np.mgrid[0:SIZE, 0:SIZE]
    x = rng.normal(60, 35, (n, SIZE, SIZE, 1))
    for i, kind in enumerate(y):
        cy, cx = rng.uniform(9, 19, 2)
        r, w = rng.uniform(5, 9), rng.uniform(1.0, 2.0)
        dy, dx = rows - cy, columns - cx
        inside = (np.abs(dy) < r) & (np.abs(dx) < r)
        drawn = (
            inside & (np.abs(dx) < w),
            np.abs(np.hypot(dy, dx) - r) < w,
            inside & ((np.abs(dx) < w) | (np.abs(dy) < w)),
            inside & (np.abs(dy - dx) < 1.4 * w),
        )[kind]
        x[i, ..., 0] += 110 * drawn
    return np.clip(x, 0, 255).astype(np.float32), y


if __name__ == "__main__":
    main(Path(sys.argv[1]))
