"""A recording, replayed as if it were measured now; faster, if wanted."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated

import anyio
import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import ConfigError, SensorError
from edge_sdk.contract.reading import Reading
from edge_sdk.sensors.base import Emit


class Replay:
    """Plays a ``.npz`` recording: `times_s` ``(n,)`` and `samples` ``(n, n_channels)``, or one array of it.

    Samples whose times lie further apart than two sample periods end a block, so that a gap in the recording
    is a gap in the replay.
    """

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """What to play and how."""

        file: Annotated[Path, Meta(description="Path of the .npz file.")]
        samples: Annotated[str, Meta(description="Name of the array (n, n_channels) in it.")] = "samples"
        rate_hz: Annotated[float, Meta(gt=0, description="Samples a second in the recording.")]
        speed: Annotated[float, Meta(gt=0, description="How many times faster than it was recorded.")] = 1.0
        block_s: Annotated[float, Meta(gt=0, description="Recorded seconds in one block.")] = 0.5
        start: Annotated[
            int | None, Meta(description="Event time of the first sample, ns since 1970; default: so that it ends now.")
        ] = None
        repeat: Annotated[bool, Meta(description="Begin again at the end.")] = False

    def __init__(self, name: str, options: Options, *, clock: Clock) -> None:
        self.name, self._options, self._clock = name, options, clock
        self._times_s, self._samples = _read(options.file, options.samples)
        self.channels = tuple(str(index) for index in range(self._samples.shape[1]))

    async def run(self, emit: Emit) -> None:
        """Play to the end, or for ever."""
        options = self._options
        duration_s = float(self._times_s[-1]) + 1.0 / options.rate_hz
        start_ns = options.start
        if start_ns is None:  # event time then catches up with the clock at the end, and is never ahead of it
            start_ns = self._clock.wall_ns() - round(duration_s * (1.0 - 1.0 / options.speed) * 1e9)
        begun_ns = self._clock.monotonic_ns()
        played_s = 0.0
        while True:
            for first, last in self._blocks():
                due_s = (played_s + float(self._times_s[last - 1])) / options.speed
                await anyio.sleep(max(0.0, due_s - (self._clock.monotonic_ns() - begun_ns) / 1e9))
                await emit(
                    Reading(
                        self.name,
                        self._samples[first:last],
                        start_ns + round((played_s + float(self._times_s[first])) * 1e9),
                        rate_hz=options.rate_hz,
                        observed_ns=self._clock.wall_ns(),
                        monotonic_ns=self._clock.monotonic_ns(),
                        clock=self._clock.state(),
                    )
                )
            if not options.repeat:
                return
            played_s += duration_s

    def _blocks(self) -> list[tuple[int, int]]:
        """Half-open index ranges: `block_s` long, cut at gaps."""
        size = max(1, round(self._options.block_s * self._options.rate_hz))
        cuts = np.flatnonzero(np.diff(self._times_s) > 2.0 / self._options.rate_hz) + 1
        edges = [0, *cuts.tolist(), len(self._times_s)]
        return [(first, min(first + size, end)) for begin, end in pairwise(edges) for first in range(begin, end, size)]


def _read(path: Path, name: str) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if missing := {"times_s", name} - set(arrays.files):
                raise ConfigError(
                    f"{path} has no array {sorted(missing)[0]!r}; it has {', '.join(arrays.files)}. "
                    "A recording holds times_s (n,) and samples (n, n_channels)."
                )
            times_s, samples = arrays["times_s"].astype(np.float64), arrays[name].astype(np.float32)
    except (OSError, ValueError, EOFError) as error:
        if isinstance(error, ConfigError):
            raise
        raise SensorError(f"Recording {path} cannot be read: {error}. Wanted is a .npz file.") from error
    if samples.ndim != 2 or times_s.shape != (len(samples),) or len(samples) == 0 or (np.diff(times_s) <= 0).any():
        raise ConfigError(
            f"{path}: times_s {times_s.shape} must rise and match samples {samples.shape} (n, n_channels), n > 0."
        )
    return times_s - times_s[0], samples
