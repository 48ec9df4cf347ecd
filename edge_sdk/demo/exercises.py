"""Exercises: recordings of ten people with a smartwatch, and the windows cut from them.

The recordings ship inside the package ``seglearn`` (BSD-3-Clause) and come from Burns et al., "Shoulder Physiotherapy
Exercise Recognition: Machine Learning the Inertial Signals from a Smartwatch", arXiv:1802.01489. Its data file is read
without importing the package, whose import needs pandas.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_sdk.base.errors import ConfigError, MissingExtraError

__all__ = [
    "EXERCISES",
    "LENGTH",
    "RATE_HZ",
    "SEED",
    "SENSORS",
    "STRIDE",
    "UNSEEN_PEOPLE",
    "Recording",
    "folds",
    "load_recordings",
    "windows",
]

_NAME_OF_CODE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "PEN": "pendulum",
        "ABD": "abduction",
        "FEL": "forward elevation",
        "IR": "internal rotation",
        "ER": "external rotation",
        "TRAP": "trapezius row",
        "ROW": "bent-over row",
    }
)

EXERCISES: Final[tuple[str, ...]] = tuple(_NAME_OF_CODE.values())
"""The seven labels, in the order of every network's output."""

SENSORS: Final[Mapping[str, slice]] = MappingProxyType({"accelerometer": slice(0, 3), "gyroscope": slice(3, 6)})
"""Each sensor's columns in `Recording.samples`: acceleration in g, angular rate in rad/s, axes x, y, z."""

RATE_HZ: Final = 50.0
"""Samples per second of every recording."""

LENGTH: Final = 200
"""Samples of one window: 4 s."""

STRIDE: Final = 50
"""Samples from one window's start to the next one's: 1 s."""

SEED: Final = 1
"""Decides initial weights, batches and the order of the replay."""

UNSEEN_PEOPLE: Final = (8, 9, 10)
"""The people the demo never trains on, chosen before anything was measured."""


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """One person doing one exercise with one arm, about twenty times.

    Attributes:
        person: 1 to 10.
        side: The arm that wears the watch, ``"left"`` or ``"right"``.
        exercise: One of `EXERCISES`.
        rate_hz: Samples per second.
        samples: float32, shape ``(n, 6)``: acceleration x, y, z in g (gravity included), angular rate x, y, z in rad/s.
    """

    person: int
    side: str
    exercise: str
    rate_hz: float
    samples: NDArray[np.float32]


def load_recordings(folder: Path | None = None) -> tuple[Recording, ...]:
    """Read all 140 recordings: ten people, seven exercises, two arms.

    Args:
        folder: Where ``watch_dataset.npy`` is; None = in the installed package that carries it.

    Raises:
        MissingExtraError: The package that carries the recordings is not installed.
        ConfigError: The folder does not have the file.
    """
    if folder is None:
        spec = find_spec("seglearn")
        if spec is None or spec.origin is None:
            raise MissingExtraError("seglearn", extra="demo")
        folder = Path(spec.origin).parent / "data"
    path = folder / "watch_dataset.npy"
    if not path.is_file():
        raise ConfigError(f"No {path.name} in {folder}. Name the folder that has it: seglearn keeps it in its `data`.")
    # The file is a pickle: trusted exactly as far as whoever gave it.
    data: dict[str, Any] = np.load(path, allow_pickle=True).item()
    names = [_NAME_OF_CODE[code] for code in data["y_labels"]]
    return tuple(
        Recording(
            person=int(person),
            side="right" if is_right else "left",
            exercise=names[label],
            rate_hz=RATE_HZ,
            samples=np.ascontiguousarray(samples, dtype=np.float32),
        )
        for person, is_right, label, samples in zip(data["subject"], data["side"], data["y"], data["X"], strict=True)
    )


def windows(
    recordings: Iterable[Recording], sensor: str, *, length: int = LENGTH, stride: int = STRIDE
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Cut every whole window of one sensor; a window never spans two recordings.

    Args:
        recordings: The recordings to cut, in order; those shorter than `length` give no window.
        sensor: One of `SENSORS`.
        length: Samples of a window.
        stride: Samples from one window's start to the next one's.

    Returns:
        The windows, float32, shape ``(n, length, 3)``, in the sensor's unit; their exercises as int64 indices into
        `EXERCISES`, shape ``(n,)``; the people they come from, int64, shape ``(n,)``. Row i is the same stretch of
        time whichever sensor is asked for.
    """
    columns = SENSORS[sensor]
    cut = [np.empty((0, length, columns.stop - columns.start), np.float32)]
    labels: list[int] = []
    people: list[int] = []
    for recording in recordings:
        if len(recording.samples) < length:
            continue
        view = np.lib.stride_tricks.sliding_window_view(recording.samples[:, columns], length, axis=0)[::stride]
        cut.append(view.transpose(0, 2, 1))
        labels += [EXERCISES.index(recording.exercise)] * len(view)
        people += [recording.person] * len(view)
    return np.concatenate(cut), np.array(labels, np.int64), np.array(people, np.int64)


def folds() -> tuple[tuple[int, int], ...]:
    """Name the people left out in each of the five folds: neighbours by number, chosen before anything was measured."""
    return ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10))
