"""The evaluation: five times, train without two people and ask the quantized bundles about exactly those two."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sdk.contract.bundle import Bundle
from edge_sdk.contract.window import Window
from edge_sdk.demo import exercises, workshop
from edge_sdk.demo.exercises import SENSORS, Recording
from edge_sdk.demo.score import FUSED
from edge_sdk.fusion.pools import LogOpinionPool
from edge_sdk.inference.model import Model


class Fold(msgspec.Struct, frozen=True, kw_only=True):
    """One fold.

    Attributes:
        people: The two who were left out.
        n: Number of their windows.
        accuracy: Of each sensor's int8 bundle alone, and fused.
    """

    people: tuple[int, ...]
    n: int
    accuracy: dict[str, float]


def evaluate(
    recordings: tuple[Recording, ...], *, progress: workshop.Progress, done: Callable[[Fold], None]
) -> list[Fold]:
    """Run all five folds; every window of an unseen person is one answer, nothing is smoothed over time.

    Args:
        recordings: All recordings.
        progress: Told what is being done.
        done: Told of each fold as it ends.
    """
    folds = []
    for people in exercises.folds():
        seen = [recording for recording in recordings if recording.person not in people]
        unseen = [recording for recording in recordings if recording.person in people]
        with tempfile.TemporaryDirectory() as directory:
            made = workshop.make(Path(directory), seen, unseen, progress=progress)
            fold = _judge(people, {name: piece.bundle for name, piece in made.items()}, unseen)
        folds.append(fold)
        done(fold)
    return folds


def mean(folds: list[Fold]) -> dict[str, float]:
    """Mean accuracy over folds, by sensor and fused."""
    return {name: float(np.mean([fold.accuracy[name] for fold in folds])) for name in (*SENSORS, FUSED)}


def _judge(people: tuple[int, ...], bundles: Mapping[str, Bundle], unseen: list[Recording]) -> Fold:
    fuser = LogOpinionPool(LogOpinionPool.Options())
    models = {name: Model.open(bundle) for name, bundle in bundles.items()}
    windows = {name: exercises.windows(unseen, name) for name in SENSORS}
    truth = windows["accelerometer"][1]
    predictions = {name: [model.predict(_window(name, x)) for x in windows[name][0]] for name, model in models.items()}
    answers = {name: [_best(one.probabilities) for one in said] for name, said in predictions.items()}
    pairs = zip(*predictions.values(), strict=True)
    fused = [fuser.fuse(pair) for pair in pairs]
    answers[FUSED] = [_best(one.probabilities if one else None) for one in fused]
    accuracy = {name: float(np.mean(np.array(said) == truth)) for name, said in answers.items()}
    return Fold(people=people, n=len(truth), accuracy=accuracy)


def _window(sensor: str, samples: NDArray[np.float32]) -> Window:
    return Window(sensor, 0, round(len(samples) / exercises.RATE_HZ * 1e9), samples)


def _best(probabilities: NDArray[np.float64] | None) -> int:
    return -1 if probabilities is None else int(probabilities.argmax())
