"""Smartwatch exercises: ten people, seven shoulder exercises, both arms; accelerometer and gyroscope at 50 Hz.

Burns et al., arXiv:1802.01489. The recordings ship inside the package ``seglearn`` (BSD-3-Clause), as
``data/watch_dataset.npy``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_sdk.contract.reading import Reading
from edge_sdk.demo.exercises import EXERCISES, RATE_HZ, SENSORS, Recording

FILE = "watch_dataset.npy"
_CODES = ("PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW")
_START_NS = 1_700_000_000_000_000_000
_PAUSE_NS = 120_000_000_000
_BLOCK = 50


def folder() -> Path | None:
    """Where the installed ``seglearn`` keeps its data; None = it is not installed."""
    spec = find_spec("seglearn")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / "data"


def load(data: Path | None) -> tuple[Recording, ...]:
    """Read all recordings from a folder, or from the installed package.

    Raises:
        FileNotFoundError: The file is not there; the message says where it comes from.
    """
    where = data or folder()
    if where is None or not (where / FILE).exists():
        raise FileNotFoundError(
            f"No {FILE} in {where or 'an installed seglearn'}. Run: pip install 'edge-sdk[demo]', or name its folder "
            "with --data."
        )
    # The file is a pickle: trusted exactly as far as whoever gave it.
    given = np.load(where / FILE, allow_pickle=True).item()
    names = [EXERCISES[_CODES.index(code)] for code in given["y_labels"]]
    return tuple(
        Recording(
            person=int(person),
            side="right" if is_right else "left",
            exercise=names[label],
            rate_hz=RATE_HZ,
            samples=np.ascontiguousarray(samples, dtype=np.float32),
        )
        for person, is_right, label, samples in zip(
            given["subject"], given["side"], given["y"], given["X"], strict=True
        )
    )


def played(recordings: Sequence[Recording]) -> Iterator[tuple[Recording, int, list[Reading]]]:
    """Recordings with a pause between: each, when it begins, and both sensors' blocks of a second."""
    start_ns = _START_NS
    for recording in recordings:
        blocks = []
        for low in range(0, len(recording.samples), _BLOCK):
            at_ns = start_ns + round(low / RATE_HZ * 1e9)
            for sensor, columns in SENSORS.items():
                samples: NDArray[np.float32] = np.ascontiguousarray(recording.samples[low : low + _BLOCK, columns])
                blocks.append(Reading(sensor, samples, at_ns, rate_hz=RATE_HZ))
        yield recording, start_ns, blocks
        end_ns = start_ns + round(len(recording.samples) / RATE_HZ * 1e9) + _PAUSE_NS
        start_ns = -(-end_ns // 1_000_000_000) * 1_000_000_000
