"""What several benchmarks stand on: the demo's bundles, three of them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sdk.contract.bundle import Bundle, write_bundle
from edge_sdk.contract.reading import Reading
from edge_sdk.demo import workshop
from edge_sdk.demo.cli import cache_directory
from edge_sdk.demo.exercises import RATE_HZ, SENSORS, load_recordings

START_NS = 1_700_000_000_000_000_000


def three_small(directory: Path) -> dict[str, Bundle]:
    """Three int8 bundles of about 65 kB; the third is the first again under another name."""
    made = workshop.cached(cache_directory(), load_recordings(), progress=lambda *_: None)
    bundles = {name: piece.bundle for name, piece in made.items()}
    first = bundles["accelerometer"]
    manifest = msgspec.structs.replace(first.manifest, name="second-accelerometer", sensor="second-accelerometer")
    bundles["second-accelerometer"] = write_bundle(directory / "second.edge", manifest, first.files, key=None)
    return bundles


def blocks(seconds: float, *, block_s: float = 0.5) -> list[tuple[str, NDArray[np.float32]]]:
    """Sensor blocks as they come in turn: (sensor, samples), real recordings laid end to end."""
    samples = np.concatenate([recording.samples for recording in load_recordings()])[: int(seconds * RATE_HZ)]
    size = int(block_s * RATE_HZ)
    columns = {**SENSORS, "second-accelerometer": SENSORS["accelerometer"]}
    return [
        (name, np.ascontiguousarray(samples[first : first + size, part]))
        for first in range(0, len(samples) - size + 1, size)
        for name, part in columns.items()
    ]


def readings(given: list[tuple[str, NDArray[np.float32]]]) -> list[Reading]:
    """The same blocks as readings."""
    made, position = [], dict.fromkeys((name for name, _ in given), 0)
    for name, samples in given:
        start_ns = START_NS + round(position[name] * 1e9 / RATE_HZ)
        made.append(Reading(name, samples, start_ns, rate_hz=RATE_HZ, observed_ns=start_ns + 1))
        position[name] += len(samples)
    return made
