"""Training: one small network per sensor, from people's recordings, on two CPU cores in seconds.

Few people move in few ways, so the batches are varied the way other people would differ: the other arm, another watch
position, another speed. Speed is varied by the laws of motion: faster by s makes the angular rate s times and the
linear acceleration s² times as large, but leaves gravity alone. The gyroscope tells the two accelerations apart; only
the training uses this, the accelerometer's network never sees the gyroscope.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edge_sdk.demo.exercises import EXERCISES, LENGTH, RATE_HZ, SEED, SENSORS, Recording, load_recordings

__all__ = ["CLIP", "Trained", "main", "save", "standardize", "train"]

CLIP: Final = 6.0
"""Standard deviations at which a training input is cut off: a knock of the watch must not stretch the int8 range."""

_STEPS: Final = 1300
_BATCH: Final = 96
_LEARNING_RATE: Final = 4e-3
_WEIGHT_DECAY: Final = 2e-2
_LABEL_SMOOTHING: Final = 0.1
_DROPOUT: Final = 0.3
_AVERAGE_FROM: Final = int(0.6 * _STEPS)
_AVERAGE_EVERY: Final = 5
_AVERAGE_DECAY: Final = 0.96

_LAYERS: Final = ((24, 7, 2), (40, 7, 2), (56, 5, 2), (64, 5, 2), (64, 3, 1))
"""Filters, kernel and stride of each convolution."""

# The plane between the arms mirrors x, which runs along the forearm. An angular rate is a pseudovector: it mirrors the
# other way round.
_MIRROR: Final = {
    "accelerometer": np.array([-1, 1, 1], np.float32),
    "gyroscope": np.array([1, -1, -1], np.float32),
}

# How people differ: each a standard deviation, but for the two that say "at most".
_TURN_RAD: Final = np.array([0.3, 0.15, 0.15], np.float32)  # of the watch on the wrist; most about the forearm
_SPEED_AT_MOST: Final = 1.7  # factor, either way
_HURRY_AT_MOST: Final = 0.3  # of the speed, within one window
_ARM_LOG: Final = 0.2  # of the logarithm of the arm's length, which scales the linear acceleration
_STRENGTH_LOG: Final = 0.1  # of the logarithm of the movement's size
_NOISE: Final = 0.05  # of a standardized sample


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A trained network of one sensor and what its input was standardized with.

    Attributes:
        sensor: The sensor it reads, one of `SENSORS`.
        model: ``keras.Model`` from a standardized window ``(n, 200, 3)`` to probabilities ``(n, 7)``, float32.
        mean: float32, shape ``(3,)``, in the sensor's unit; from the training people only.
        std: float32, shape ``(3,)``, in the sensor's unit; from the training people only.
        temperature: What the logarithms of the probabilities are divided by before they are fused.
    """

    sensor: str
    model: Any
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    temperature: float = 1.0


def train(
    sensor: str,
    recordings: Sequence[Recording],
    *,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Trained:
    """Train the network of one sensor for a fixed number of steps; nothing is chosen by looking at other people.

    Sets the process-wide seeds of Python, numpy and TensorFlow: the same seed gives the same weights on one machine.

    Args:
        sensor: One of `SENSORS`.
        recordings: The training people's recordings, and nobody else's.
        seed: Decides the initial weights and every batch.
        progress: Called with the steps done and the steps in all, after every step.
    """
    keras.utils.set_random_seed(seed)
    samples = np.concatenate([recording.samples[:, SENSORS[sensor]] for recording in recordings])
    both_arms = np.concatenate([samples, samples * _MIRROR[sensor]])
    mean, std = both_arms.mean(axis=0), both_arms.std(axis=0)

    batches = _Batches(sensor, recordings, mean, std, np.random.default_rng(seed))
    logits = _network()
    optimizer = keras.optimizers.AdamW(_learning_rate(), weight_decay=_WEIGHT_DECAY)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    optimizer.build(logits.trainable_variables)

    @tf.function  # type: ignore[untyped-decorator]
    def step(inputs: Any, targets: Any) -> None:
        with tf.GradientTape() as tape:
            losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits(inputs, training=True))
            loss = tf.reduce_mean(losses)
        optimizer.apply(tape.gradient(loss, logits.trainable_variables), logits.trainable_variables)

    average: list[NDArray[np.float32]] = []
    for done in range(1, _STEPS + 1):
        inputs, targets = batches.draw(_BATCH)
        step(tf.constant(inputs), tf.constant(targets))
        if done >= _AVERAGE_FROM and done % _AVERAGE_EVERY == 0:
            weights = logits.get_weights()
            pairs = zip(average or weights, weights, strict=True)
            average = [_AVERAGE_DECAY * old + (1 - _AVERAGE_DECAY) * new for old, new in pairs]
        if progress is not None:
            progress(done, _STEPS)
    logits.set_weights(average)
    model = keras.Model(logits.input, keras.layers.Softmax()(logits.output), name=sensor)
    return Trained(sensor=sensor, model=model, mean=mean, std=std)


def main(sensor: str, left_out: str, path: str) -> None:
    """Train one network in a process of its own: `left_out` are people, by commas; progress goes to standard output."""
    people = {int(number) for number in left_out.split(",")}
    recordings = [recording for recording in load_recordings() if recording.person not in people]

    def report(done: int, total: int) -> None:
        if done % 20 == 0 or done == total:
            sys.stdout.write(f"{done} {total}\n")
            sys.stdout.flush()

    save(train(sensor, recordings, seed=SEED, progress=report), Path(path))


def standardize(trained: Trained, windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn windows ``(n, 200, 3)`` in the sensor's unit into the network's input, cut off at `CLIP`.

    Quantize on these: the int8 input then ends at `CLIP` by itself, and the device need only subtract and divide.
    """
    return np.asarray(np.clip((windows - trained.mean) / trained.std, -CLIP, CLIP), np.float32)


def save(trained: Trained, path: Path) -> None:
    """Write the network to ``path.keras``; its mean, std and temperature to ``path.npz``."""
    trained.model.save(path.with_suffix(".keras"))
    np.savez(path.with_suffix(".npz"), mean=trained.mean, std=trained.std, clip=CLIP, temperature=trained.temperature)


def _network() -> Any:
    """Build the network up to its logits: strided convolutions, then the mean over time."""
    inputs = keras.layers.Input((LENGTH, 3))
    x = inputs
    for filters, kernel, stride in _LAYERS:
        x = keras.layers.Conv1D(filters, kernel, strides=stride, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=0.97)(x)
        x = keras.layers.ReLU()(x)
    x = keras.layers.GlobalAveragePooling1D()(x)
    x = keras.layers.Dropout(_DROPOUT)(x)
    return keras.Model(inputs, keras.layers.Dense(len(EXERCISES))(x))


def _learning_rate() -> Any:
    """Warm up over a tenth of the steps, then fall along a cosine to almost nothing."""
    warmup = _STEPS // 10
    return keras.optimizers.schedules.CosineDecay(
        0.05 * _LEARNING_RATE, _STEPS - warmup, alpha=0.005, warmup_target=_LEARNING_RATE, warmup_steps=warmup
    )


class _Batches:
    """Random windows of random recordings, varied as other people would move; no Python loop over windows."""

    def __init__(
        self,
        sensor: str,
        recordings: Sequence[Recording],
        mean: NDArray[np.float32],
        std: NDArray[np.float32],
        random: np.random.Generator,
    ) -> None:
        usable = [recording for recording in recordings if len(recording.samples) > LENGTH]
        self._sensor, self._mean, self._std, self._random = sensor, mean, std, random
        still = _gravity(usable) if sensor == "accelerometer" else [np.zeros((len(r.samples), 3)) for r in usable]
        moving = [r.samples[:, SENSORS[sensor]] - s for r, s in zip(usable, still, strict=True)]
        # Columns 0-2 do not change with speed, columns 3-5 do.
        self._samples = np.concatenate([np.concatenate(still), np.concatenate(moving)], axis=1).astype(np.float32)
        self._lengths = np.array([len(recording.samples) for recording in usable])
        self._starts = np.cumsum(self._lengths) - self._lengths
        self._labels = np.array([EXERCISES.index(recording.exercise) for recording in usable])
        # The square root lets quick people, whose recordings are short, weigh more than their seconds.
        self._chances = np.sqrt(self._lengths) / np.sqrt(self._lengths).sum()

    def draw(self, n: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return standardized windows ``(n, 200, 3)`` and smoothed targets ``(n, 7)``."""
        random = self._random
        which = random.choice(len(self._lengths), n, p=self._chances)
        still, moving, speed = self._stretch(which)
        strength = np.exp(random.normal(0, _STRENGTH_LOG, (n, 1, 1)))
        if self._sensor == "accelerometer":
            x = still + moving * speed**2 * np.exp(random.normal(0, _ARM_LOG, (n, 1, 1)))
            centre = x.mean(axis=1, keepdims=True)
            x = centre + (x - centre) * strength
        else:
            x = moving * speed * strength
        x = np.where(random.random((n, 1, 1)) < 0.5, x * _MIRROR[self._sensor], x)
        x = x @ _rotations(random.normal(size=(n, 3)) * _TURN_RAD)
        x = (x - self._mean) / self._std + random.normal(0, _NOISE, x.shape)
        targets = np.eye(len(EXERCISES))[self._labels[which]] * (1 - _LABEL_SMOOTHING)
        targets += _LABEL_SMOOTHING / len(EXERCISES)
        return np.clip(x, -CLIP, CLIP).astype(np.float32), targets.astype(np.float32)

    def _stretch(
        self, which: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Cut a window at a random place, played at a random, slowly changing speed.

        Returns:
            The parts that do not and do change with speed, each ``(n, 200, 3)``, and the speed, ``(n, 200, 1)``.
        """
        random, n, lengths = self._random, len(which), self._lengths[which][:, None]
        overall = np.exp(random.uniform(-1, 1, (n, 1)) * math.log(_SPEED_AT_MOST))
        overall = np.minimum(overall, (lengths - 2) / LENGTH)
        wave = random.uniform(0.5, 2, (n, 1)) * np.linspace(0, 1, LENGTH) + random.random((n, 1))
        pace = 1 + _HURRY_AT_MOST * random.uniform(-1, 1, (n, 1)) * np.sin(2 * np.pi * wave)
        passed = np.cumsum(pace, axis=1) - pace[:, :1]
        passed *= (LENGTH - 1) * overall / passed[:, -1:]
        at = passed + random.random((n, 1)) * (lengths - 1 - passed[:, -1:])
        before = np.minimum(at.astype(np.int64), lengths - 2)
        part = (at - before).astype(np.float32)[..., None]
        row = before + self._starts[which][:, None]
        between = self._samples[row] * (1 - part) + self._samples[row + 1] * part
        speed = (overall * pace / pace.mean(axis=1, keepdims=True)).astype(np.float32)[..., None]
        return between[..., :3], between[..., 3:], speed


def _rotations(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    """Turn rotation vectors ``(n, 3)`` in radians into matrices ``(n, 3, 3)``, by Rodrigues' formula."""
    angle = np.linalg.norm(vectors, axis=1)[:, None, None]
    x, y, z = (vectors / np.maximum(angle[:, 0], 1e-9)).T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross), np.float32)


def _gravity(recordings: Sequence[Recording]) -> list[NDArray[np.float64]]:
    """Tell gravity from movement: for each recording the direction of gravity in g, shape ``(n, 3)``.

    A complementary filter turns the last estimate by the gyroscope and draws it towards the accelerometer whenever that
    measures about 1 g. It runs forwards and backwards, for its errors to cancel; all recordings at once.
    """
    lengths = [len(recording.samples) for recording in recordings]
    forwards = np.stack([_padded(r.samples, max(lengths)) for r in recordings])
    backwards = np.stack([_padded(r.samples[::-1], max(lengths)) for r in recordings])
    there, back = _filtered(forwards, direction=1), _filtered(backwards, direction=-1)
    sums = [a[:n] + b[:n][::-1] for a, b, n in zip(there, back, lengths, strict=True)]
    return [total / np.linalg.norm(total, axis=1, keepdims=True) for total in sums]


def _padded(samples: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    return np.pad(samples, ((0, length - len(samples)), (0, 0)), mode="edge")


def _filtered(samples: NDArray[np.float32], *, direction: int) -> NDArray[np.float64]:
    """Run the complementary filter over ``(n_recordings, n, 6)``; `direction` is -1 where time runs backwards."""
    start_up = int(RATE_HZ / 2)
    gravity = samples[:, :start_up, :3].mean(axis=1, dtype=np.float64)
    gravity /= np.linalg.norm(gravity, axis=1, keepdims=True)
    estimates = np.empty((*samples.shape[:2], 3))
    for i in range(samples.shape[1]):
        acceleration = samples[:, i, :3]
        excess = np.linalg.norm(acceleration, axis=1, keepdims=True) - 1
        gravity = gravity + direction / RATE_HZ * np.cross(gravity, samples[:, i, 3:])
        gravity += 0.03 * np.exp(-((excess / 0.15) ** 2)) * (acceleration - gravity)
        gravity /= np.linalg.norm(gravity, axis=1, keepdims=True)
        estimates[:, i] = gravity
    return estimates


if __name__ == "__main__":
    main(*sys.argv[1:])
