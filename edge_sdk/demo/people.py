"""Unseen people as stations: each one's recordings become a replay, a configuration and the truth to judge by."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edge_sdk.demo.exercises import LENGTH, RATE_HZ, SENSORS, Recording

SITE = "clinic"
STREAM = "exercise"
_PAUSE_S = 6.0
"""Between two recordings: longer than a window, so that none spans two exercises."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """What a person really does when, in recorded seconds.

    Attributes:
        starts_s: Start of each recording, rising.
        ends_s: End of each.
        exercises: The exercise of each.
    """

    starts_s: tuple[float, ...]
    ends_s: tuple[float, ...]
    exercises: tuple[str, ...]

    @property
    def duration_s(self) -> float:
        """From the first sample to the last."""
        return self.ends_s[-1]

    def truth(self, end_s: float) -> str | None:
        """The exercise of the window that ends at `end_s`; None when it is not wholly inside one recording."""
        slack = 0.5 / RATE_HZ  # the grid may lie half a sample off
        at = bisect_right(self.starts_s, end_s - LENGTH / RATE_HZ + slack) - 1
        return self.exercises[at] if at >= 0 and end_s <= self.ends_s[at] + slack else None


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """An unseen person, ready to be replayed as a station.

    Attributes:
        station: Name of the station.
        timeline: What the person really does.
        recording: The file that the replay plays: `times_s` and one array per sensor.
        runtime: The runtime that its models run on.
    """

    station: str
    timeline: Timeline
    recording: Path
    runtime: str

    def configure(
        self,
        directory: Path,
        *,
        broker_url: str,
        bundles: Mapping[str, Path],
        key_file: Path,
        start_ns: int,
        speed: float,
    ) -> Path:
        """Write ``station.yaml`` into `directory`."""
        replay = {"file": str(self.recording), "rate_hz": RATE_HZ, "speed": speed, "start": start_ns}
        config: dict[str, Any] = {
            "site": SITE,
            "station": self.station,
            "state_directory": str(directory / "state"),
            "broker": {"url": broker_url},
            "trust": {"keys": [str(key_file)]},
            "sensors": {name: {"kind": "replay", "options": {**replay, "samples": name}} for name in SENSORS},
            "streams": {
                STREAM: {
                    "models": [
                        {"bundle": str(path), "sensor": name, "runtime": self.runtime} for name, path in bundles.items()
                    ],
                    "fusion": {"method": "log_opinion_pool"},
                    "lateness_s": 2 * _PAUSE_S,  # over a pause, one sensor's time leaps ahead of the other's
                }
            },
            "health_every_s": 1.0,
        }
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "station.yaml"
        path.write_bytes(msgspec.yaml.encode(config))
        return path


def prepare(person: int, recordings: Sequence[Recording], directory: Path, *, runtime: str, seed: int) -> Person:
    """Lay one person's recordings behind each other, shuffled, with pauses, and write the replay's file."""
    theirs = [recording for recording in recordings if recording.person == person]
    chosen = [theirs[index] for index in np.random.default_rng(seed + person).permutation(len(theirs))]
    times, starts, ends, at_s = [], [], [], 0.0
    for recording in chosen:
        times.append(at_s + np.arange(len(recording.samples)) / RATE_HZ)
        starts.append(at_s)
        ends.append(at_s + len(recording.samples) / RATE_HZ)
        at_s = ends[-1] + _PAUSE_S
    samples = np.concatenate([recording.samples for recording in chosen])
    path = directory / f"person-{person}.npz"
    columns = {name: samples[:, part] for name, part in SENSORS.items()}
    np.savez(path, allow_pickle=False, times_s=np.concatenate(times), **columns)
    timeline = Timeline(tuple(starts), tuple(ends), tuple(recording.exercise for recording in chosen))
    return Person(f"person-{person}", timeline, path, runtime)
