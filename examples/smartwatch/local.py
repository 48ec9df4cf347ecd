"""The two local models: one small convolutional network for each sensor, trained as the demo trains them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.pipeline import convert
from converters.recipe import Recipe
from edge_sdk.contract.manifest import Channel, Step, Windowing
from edge_sdk.contract.trust import SigningKey
from edge_sdk.demo import exercises
from edge_sdk.demo.exercises import EXERCISES, LENGTH, RATE_HZ, SEED, STRIDE, Recording

_LIMITS = {"accelerometer": ("g", 20.0), "gyroscope": ("rad/s", 40.0)}


def bundle(sensor: str, seen: Sequence[Recording], out: Path, key: SigningKey) -> None:
    """Train on some people's recordings, convert to int8 and sign."""
    from edge_sdk.demo import training

    trained = training.train(sensor, seen, seed=SEED)
    training.save(trained, out)
    unit, limit = _LIMITS[sensor]
    recipe = Recipe(
        name=sensor,
        task="classification",
        sensor=sensor,
        channels=tuple(Channel(name=axis, unit=unit, minimum=-limit, maximum=limit) for axis in "xyz"),
        windowing=Windowing(length=LENGTH, stride=STRIDE, rate_hz=RATE_HZ, minimum_coverage=1.0),
        preprocess=(
            Step(kind="standardize", options={"mean": trained.mean.tolist(), "std": trained.std.tolist()}),
            Step(kind="clip", options={"minimum": -training.CLIP, "maximum": training.CLIP}),
        ),
        labels=EXERCISES,
    )
    x, y, _ = exercises.windows(seen, sensor)
    rows = np.random.default_rng(SEED).choice(len(x), min(1000, len(x)), replace=False)
    convert(
        out.with_suffix(".keras"),
        recipe,
        out=out,
        calibration=x[rows],
        evaluate=(x[rows], y[rows]),
        precision=["int8"],
        formats=["tflite"],
        key=key,
    )


def joint(seen: Sequence[Recording], unseen: Sequence[Recording]) -> NDArray[np.float64]:
    """Early fusion for comparison: a random forest on plain features of both sensors; probabilities ``(n, 7)``."""
    from sklearn.ensemble import RandomForestClassifier

    x, y = _features(seen)
    forest = RandomForestClassifier(200, min_samples_leaf=2, random_state=SEED, n_jobs=1).fit(x, y)
    out = np.zeros((len(exercises.windows(unseen, "gyroscope")[1]), len(EXERCISES)))
    out[:, forest.classes_] = forest.predict_proba(_features(unseen)[0])
    return out


def _features(recordings: Sequence[Recording]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Mean, deviation, lowest, highest, mean step and energy of each channel, and the truth."""
    cut = [exercises.windows(recordings, sensor) for sensor in exercises.SENSORS]
    x = np.concatenate([one[0] for one in cut], axis=2).astype(np.float64)
    steps = np.abs(np.diff(x, axis=1)).mean(axis=1)
    parts = [x.mean(axis=1), x.std(axis=1), x.min(axis=1), x.max(axis=1), steps, (x**2).mean(axis=1)]
    return np.hstack(parts), cut[0][1]
