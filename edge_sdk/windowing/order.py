"""Order: blocks that come late, twice, or with an impossible time become runs that only go forward."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge_sdk.base.clock import ClockState
from edge_sdk.contract.reading import Reading

_LAST_NS = 8_000_000_000_000_000_000  # year 2223: times beyond it would overflow when subtracted
_EVIDENCE = 3


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Samples in strictly rising event time.

    Attributes:
        times_ns: int64 ``(n,)``.
        samples: float32 ``(n, n_channels)``.
        observed_ns: int64 ``(n,)``: when each reached this machine.
        synced: bool ``(n,)``: whether the clock could be believed then.
        even: Every sample's block declared its rate, and it was the expected one.
        spacing_ns: The declared time from sample to sample; 0 = not declared.
        restart: Time was set back before this run.
    """

    times_ns: NDArray[np.int64]
    samples: NDArray[np.float32]
    observed_ns: NDArray[np.int64]
    synced: NDArray[np.bool_]
    even: bool
    spacing_ns: float
    restart: bool = False

    def __len__(self) -> int:
        return len(self.times_ns)

    def take(self, rows: slice | NDArray[np.bool_] | NDArray[np.intp]) -> Run:
        """The samples that `rows` picks."""
        return replace(
            self,
            times_ns=self.times_ns[rows],
            samples=self.samples[rows],
            observed_ns=self.observed_ns[rows],
            synced=self.synced[rows],
        )


class Order:
    """Sorts what is late by no more than `lateness_ns`; counts and drops the rest. Pure: no clock is read.

    A block that lies further than `max_jump_ns` from the newest time is held back as suspect. Three stamps in a row
    that agree with each other (one per evenly spaced block, one per sample otherwise) are believed: the clock was
    set, or there was a long gap. Fewer, and they are dropped and counted: one bad timestamp never moves the stream.

    Attributes:
        counters: ``samples.late``, ``samples.duplicate``, ``samples.bad_time``, ``clock.steps``.
    """

    def __init__(self, *, rate_hz: float, lateness_ns: int, max_jump_ns: int, counters: Counter[str]) -> None:
        self.counters = counters
        self._rate_hz = rate_hz
        self._lateness_ns = lateness_ns
        self._max_jump_ns = max_jump_ns
        self._newest_ns: int | None = None
        self._released_ns: int | None = None
        self._pending: Run | None = None
        self._suspects: list[Run] = []
        self._stamps = 0

    def push(self, reading: Reading) -> list[Run]:
        """Take a block; give what may be worked on now, in order."""
        runs: list[Run] = []
        for piece in self._pieces(reading):
            for run in self._believed(piece):
                if run.restart:
                    runs += self.flush()
                    self._newest_ns = self._released_ns = None
                released = self._release(run)
                if released is not None:
                    runs.append(replace(released, restart=True) if run.restart else released)
        return runs

    def follows(self, first_ns: int, last_ns: int) -> bool:
        """Whether a whole block may go on at once: nothing is held back or doubted, and it is not late; then it is."""
        if self._lateness_ns or self._suspects or self._released_ns is None or first_ns <= self._released_ns:
            return False
        self._newest_ns = self._released_ns = last_ns
        return True

    def flush(self) -> list[Run]:
        """Give what lateness still held back."""
        pending, self._pending = self._pending, None
        if pending is None:
            return []
        self._released_ns = int(pending.times_ns[-1])
        return [pending]

    def end(self) -> list[Run]:
        """Like `flush`, and forget the stream: what is pushed next begins a new one."""
        runs = self.flush()
        self._drop_suspects()
        self._newest_ns = self._released_ns = None
        return runs

    def _pieces(self, reading: Reading) -> list[Run]:
        """The block, cut where its own times jump too far; samples with impossible times are dropped."""
        n = len(reading.samples)
        even = reading.times_ns is None
        if even and (n / reading.rate_hz > 1e9 or not 0 <= reading.start_ns <= _LAST_NS - 10**18):
            self.counters["samples.bad_time"] += n
            return []
        times = reading.sample_times_ns
        on_rate = even and abs(reading.rate_hz - self._rate_hz) <= 1e-9 * self._rate_hz
        spacing_ns = 1e9 / reading.rate_hz if reading.rate_hz else 0.0
        run = Run(
            times_ns=times,
            samples=reading.samples,
            observed_ns=np.full(n, reading.last_observed_ns, dtype=np.int64),
            synced=np.full(n, reading.clock is ClockState.SYNCED),
            even=on_rate,
            spacing_ns=spacing_ns,
        )
        if even:
            return [run]
        possible = (times >= 0) & (times <= _LAST_NS)
        if not possible.all():
            self.counters["samples.bad_time"] += int(n - np.count_nonzero(possible))
            run = run.take(possible)
        cuts = np.flatnonzero(np.abs(np.diff(run.times_ns)) > max(self._max_jump_ns, 2 * spacing_ns)) + 1
        bounds = [0, *cuts.tolist(), len(run)]
        return [run.take(slice(low, high)) for low, high in itertools.pairwise(bounds) if high > low]

    def _believed(self, piece: Run) -> list[Run]:
        """The piece if its time fits; with it those held back before it, once there are enough."""
        first_ns, reach_ns = int(piece.times_ns[0]), max(self._max_jump_ns, round(2 * piece.spacing_ns))
        newest_ns = self._newest_ns
        if newest_ns is None or abs(first_ns - newest_ns) <= reach_ns + self._lateness_ns:
            self._drop_suspects()
            return [piece]
        if self._suspects and abs(first_ns - int(self._suspects[-1].times_ns[-1])) > reach_ns:
            self._drop_suspects()
        self._suspects.append(piece)
        declared = piece.even or (piece.spacing_ns > 0 and len(piece) > 1)
        self._stamps += 1 if declared else len(piece)
        if self._stamps < _EVIDENCE:
            return []
        believed, self._suspects, self._stamps = self._suspects, [], 0
        self.counters["clock.steps"] += 1
        back = int(believed[0].times_ns[0]) < newest_ns
        return [replace(believed[0], restart=back), *believed[1:]]

    def _drop_suspects(self) -> None:
        self.counters["samples.bad_time"] += sum(len(run) for run in self._suspects)
        self._suspects, self._stamps = [], 0

    def _release(self, run: Run) -> Run | None:
        """Sort the run in; give what is older than the lateness, None if that is nothing."""
        if not run.even and not bool((np.diff(run.times_ns) > 0).all()):
            run = self._sorted(run)
        if self._released_ns is not None and int(run.times_ns[0]) <= self._released_ns:
            first = int(np.searchsorted(run.times_ns, self._released_ns, side="right"))
            again = int(np.count_nonzero(run.times_ns[:first] == self._released_ns))
            self.counters["samples.duplicate"] += again
            self.counters["samples.late"] += first - again
            run = run.take(slice(first, None))
            if not len(run):
                return None
        newest_ns = max(self._newest_ns or 0, int(run.times_ns[-1]))
        self._newest_ns = newest_ns
        if self._lateness_ns == 0:
            self._released_ns = newest_ns
            return run
        if self._pending is not None:
            run = self._merged(self._pending, run)
        ready = int(np.searchsorted(run.times_ns, newest_ns - self._lateness_ns, side="right"))
        self._pending = run.take(slice(ready, None)) if ready < len(run) else None
        if ready == 0:
            return None
        self._released_ns = int(run.times_ns[ready - 1])
        return run.take(slice(0, ready))

    def _merged(self, one: Run, other: Run) -> Run:
        both = Run(
            times_ns=np.concatenate([one.times_ns, other.times_ns]),
            samples=np.concatenate([one.samples, other.samples]),
            observed_ns=np.concatenate([one.observed_ns, other.observed_ns]),
            synced=np.concatenate([one.synced, other.synced]),
            even=one.even and other.even,
            spacing_ns=max(one.spacing_ns, other.spacing_ns),
        )
        return both if one.times_ns[-1] < other.times_ns[0] else self._sorted(both)

    def _sorted(self, run: Run) -> Run:
        """By time; of two samples at one time the one that came first stays."""
        run = run.take(np.argsort(run.times_ns, kind="stable"))
        fresh = np.concatenate([[True], np.diff(run.times_ns) > 0])
        self.counters["samples.duplicate"] += int(len(run) - np.count_nonzero(fresh))
        return run.take(fresh)
