"""Smartwatch exercises: ten people, seven shoulder exercises, both arms; accelerometer and gyroscope at 50 Hz.

Burns et al., arXiv:1802.01489. The recordings ship inside the package ``seglearn`` (BSD-3-Clause), as
``data/watch_dataset.npy``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from edge_sdk.contract.reading import Reading
from edge_sdk.demo.exercises import RATE_HZ, SENSORS, Recording

_START_NS = 1_700_000_000_000_000_000
_PAUSE_NS = 120_000_000_000
_BLOCK = 50


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
