"""A recording, replayed as if it were measured now; faster, if wanted."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import anyio
import numpy as np
from msgspec import Meta

from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import ConfigError
from edge_sdk.contract.reading import Reading
from edge_sdk.sensors.base import Emit, Strict
from edge_sdk.sensors.recording import Recording


class Replay:
    """Plays a recording: ``.npz`` with `times_s` ``(n,)`` and `samples` ``(n, n_channels)``, ``.csv`` or ``.parquet``.

    Samples whose times lie further apart than two sample periods end a block, so that a gap in the recording
    is a gap in the replay.
    """

    class Options(Strict, frozen=True, kw_only=True):
        """What to play and how."""

        file: Annotated[Path, Meta(description="Path of the .npz, .csv or .parquet file.")]
        samples: Annotated[str, Meta(description="Name of the array (n, n_channels) in an .npz.")] = "samples"
        time: Annotated[
            str | None,
            Meta(
                description="Column of a .csv or .parquet with the times: seconds, ISO 8601, or since 1970 in any unit."
            ),
        ] = None
        channels: Annotated[tuple[str, ...], Meta(description="Columns to take, in order; default: all.")] = ()
        units: Annotated[tuple[str, ...], Meta(description="Their units, in order; default: not said.")] = ()
        rate_hz: Annotated[float, Meta(gt=0, description="Samples a second in the recording.")]
        speed: Annotated[float, Meta(gt=0, description="How many times faster than it was recorded.")] = 1.0
        block_s: Annotated[float, Meta(gt=0, description="Recorded seconds in one block.")] = 0.5
        start: Annotated[
            int | None, Meta(description="Event time of the first sample, ns since 1970; default: so that it ends now.")
        ] = None
        keep_times: Annotated[bool, Meta(description="Event times as they were recorded, in place of `start`.")] = False
        repeat: Annotated[bool, Meta(description="Begin again at the end.")] = False

    def __init__(self, name: str, options: Options, *, clock: Clock) -> None:
        self.name, self._options, self._clock = name, options, clock
        self._recording = Recording.read(
            options.file, rate_hz=options.rate_hz, array=options.samples, time=options.time, channels=options.channels
        )
        self.channels = self._recording.channels
        self.units = options.units or ("",) * len(self.channels)
        if len(self.units) != len(self.channels):
            raise ConfigError(
                f"{len(self.units)} units for {len(self.channels)} channels. Give one for each, in order."
            )
        if options.keep_times and self._recording.begun_ns is None:
            raise ConfigError(f"{options.file} does not say when it was recorded. Give `start`, or a `time` column.")
        self.rate_hz: float | None = None  # what is replayed has the gaps of the recording: it is not watched
        self.block_s = 0.0
        self.counters: Counter[str] = Counter({"lines.malformed": self._recording.malformed})

    async def run(self, emit: Emit) -> None:
        """Play to the end, or for ever."""
        options, times_s = self._options, self._recording.times_s
        duration_s = float(times_s[-1]) + 1.0 / options.rate_hz
        start_ns = self._recording.begun_ns if options.keep_times else options.start
        if start_ns is None:  # event time then catches up with the clock at the end, and is never ahead of it
            start_ns = self._clock.wall_ns() - round(duration_s * (1.0 - 1.0 / options.speed) * 1e9)
        begun_ns = self._clock.monotonic_ns()
        played_s = 0.0
        while True:
            for first, last in self._blocks():
                due_s = (played_s + float(times_s[last - 1])) / options.speed
                await anyio.sleep(max(0.0, due_s - (self._clock.monotonic_ns() - begun_ns) / 1e9))
                await emit(
                    Reading(
                        self.name,
                        self._recording.samples[first:last],
                        start_ns + round((played_s + float(times_s[first])) * 1e9),
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
        times_s = self._recording.times_s
        size = max(1, round(self._options.block_s * self._options.rate_hz))
        cuts = np.flatnonzero(np.diff(times_s) > 2.0 / self._options.rate_hz) + 1
        edges = [0, *cuts.tolist(), len(times_s)]
        return [(first, min(first + size, end)) for begin, end in pairwise(edges) for first in range(begin, end, size)]
