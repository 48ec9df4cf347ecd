"""The windower: readings of one sensor in, windows on a model's grid out."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_sdk.base.clock import ClockState
from edge_sdk.base.errors import ConfigError, ReadingError
from edge_sdk.contract.manifest import Windowing
from edge_sdk.contract.reading import Reading
from edge_sdk.contract.window import Window
from edge_sdk.windowing.grid import Grid
from edge_sdk.windowing.order import Order, Run
from edge_sdk.windowing.resample import NEAR, SPAN, interpolate, lock, lock_to

_MAX_JUMP_NS = 60_000_000_000


class Windower:
    """Cuts one sensor's samples into windows, in event time. Pure: no clock is read; memory is bounded.

    Sample k of the grid lies at ``k · 1e9 / rate_hz`` ns since the Unix epoch, and windows end at multiples of the
    stride, so that every sensor with the same `Windowing` makes windows with the very same `end_ns`.

    - A reading that declares the grid's rate is placed by nearest neighbour (see `resample.lock`);
      any other is interpolated linearly. Averaging before thinning out is the sensor's business.
    - Gaps and NaN rows count as not measured. Cells in a gap shorter than a window are interpolated; in a longer one
      they are held from its two ends, and windows wholly inside it are not made.
    - At the two ends of a stream a window is made only if it reaches the minimum coverage.
    - A window is made as soon as its last cell is known and `lateness_ns` have passed in event time.

    Args:
        spec: Length, stride and rate.
        sensor: The sensor whose readings come.
        channels: How many channels they have.
        lateness_ns: How late a block may be and still be sorted in.
        max_jump_ns: A time further than this from the newest is not believed until it is repeated (see `Order`).

    Attributes:
        counters: ``samples.late``, ``samples.duplicate``, ``samples.bad_time``, ``samples.nan``, ``clock.steps``,
            ``gaps``.

    Raises:
        ConfigError: Length, stride or rate cannot be.
    """

    def __init__(
        self,
        spec: Windowing,
        *,
        sensor: str,
        channels: int,
        lateness_ns: int = 0,
        max_jump_ns: int = _MAX_JUMP_NS,
    ) -> None:
        if spec.length < 1 or spec.stride < 1 or channels < 1 or lateness_ns < 0:
            raise ConfigError(
                f"Windowing of {sensor!r} has length {spec.length}, stride {spec.stride}, {channels} channels, "
                f"lateness {lateness_ns} ns; wanted are at least 1, 1, 1 and 0."
            )
        self.sensor = sensor
        self.spec = spec
        self._counted: Counter[str] = Counter()
        self._grid = Grid(spec.rate_hz)
        jump_ns = max(max_jump_ns, round(16 * self._grid.period_ns))
        self._order = Order(rate_hz=spec.rate_hz, lateness_ns=lateness_ns, max_jump_ns=jump_ns, counters=self._counted)
        self._tolerance = min(1.0 / self._grid.period_ns, 0.01)  # one nanosecond, in periods
        self._chunk = max(2 * spec.length, 4096)
        self._cells = np.empty((4 * spec.length + self._chunk, channels), dtype=np.float32)
        self._measured = np.empty(len(self._cells), dtype=np.bool_)
        self._begun = False
        self._origin = 0  # grid index of the first cell in the buffer
        self._size = 0
        self._begin = 0  # grid index of the stream's first cell
        self._end = 0  # grid index just past the next window
        self._knot = 0.0  # position of the last sample, relative to the next cell
        self._row = np.zeros((1, channels), dtype=np.float32)  # that sample, where it is no cell of its own
        self._phase = 0.0
        self._observed_ns = 0
        self._clock = ClockState.SYNCED

    @property
    def counters(self) -> dict[str, int]:
        """What was dropped, and why; by dotted name."""
        return {name: count for name, count in sorted(self._counted.items()) if count}

    @property
    def watermark_ns(self) -> int:
        """Event time up to which all windows have been made; 0 before the first sample."""
        return self._grid.time_ns(self._next) if self._begun else 0

    def push(self, reading: Reading) -> list[Window]:
        """Take a block of samples; give the windows that it completes, oldest first.

        Raises:
            ReadingError: The block is of another sensor or has another number of channels; nothing was taken.
        """
        if reading.sensor != self.sensor or reading.samples.shape[1] != self._cells.shape[1]:
            raise ReadingError(
                f"Reading of {reading.sensor!r} with {reading.samples.shape[1]} channels came to the windower of "
                f"{self.sensor!r} with {self._cells.shape[1]}. Name the sensor that the model was made for."
            )
        windows: list[Window] = []
        if self._continue(reading, windows):
            return windows
        for run in self._order.push(reading):
            if run.restart:
                self._hold(windows, at_end=True)
                self._begun = False
            self._take(run, windows)
        return windows

    def flush(self) -> list[Window]:
        """The stream has ended: give what lateness held back and the last windows that are covered well enough."""
        windows: list[Window] = []
        for run in self._order.end():
            self._take(run, windows)
        self._hold(windows, at_end=True)
        self._begun = False
        return windows

    @property
    def _next(self) -> int:
        return self._origin + self._size

    def _continue(self, reading: Reading, windows: list[Window]) -> bool:
        """The ordinary case, in a few operations: a whole block, on the rate, that goes on where the last ended.

        Returns:
            Whether it was that; else nothing was taken.
        """
        samples, start_ns, rate_hz = reading.samples, reading.start_ns, self.spec.rate_hz
        n = len(samples)
        if not self._begun or reading.times_ns is not None or n > self._chunk or reading.rate_hz != rate_hz:
            return False
        at = self._origin + self._size
        position = self._grid.position(start_ns, at)
        if self._knot != -1.0 or not -0.5 <= position <= 0.5 or lock_to(position, self._phase):
            return False
        if not math.isfinite(np.vdot(samples, samples)):  # NaN or infinity in it, or squares that overflow
            return False
        last_ns = start_ns + round((n - 1) * 1e9 / rate_hz)
        if not self._order.follows(start_ns, last_ns):
            return False
        self._phase, self._observed_ns, self._clock = position, reading.observed_ns or last_ns, reading.clock
        if n == self.spec.length == self.spec.stride and self._end == at + n:  # an image: no other window needs it
            windows.append(self._window(at, samples, 1.0, self._observed_ns, self._clock))
            self._origin, self._size, self._end = at + n, 0, self._end + n
            self._row = samples[-1:].copy()
        else:
            self._append(samples, True)
            if self._end <= at + n:
                self._emit(windows)
        return True

    def _take(self, run: Run, windows: list[Window]) -> None:
        if not np.isfinite(run.samples).all():  # row by row takes ten times as long
            finite = np.asarray(np.isfinite(run.samples).all(axis=1), dtype=np.bool_)
            self._counted["samples.nan"] += int(len(run) - np.count_nonzero(finite))
            run = run.take(finite)
            if not len(run):
                return
        if not self._begun:
            self._origin, self._size = self._grid.nearest(int(run.times_ns[0])), 0
            self._phase, self._knot = 0.0, -np.inf
        positions = self._grid.positions(run.times_ns, self._next)
        if run.even:
            positions, self._phase = lock(positions, self._phase)
        onward = positions > self._knot + self._tolerance
        onward[1:] &= np.diff(positions) > 0
        if not onward.all():
            self._counted["samples.duplicate"] += int(len(run) - np.count_nonzero(onward))
            run, positions = run.take(onward), positions[onward]
        span = SPAN * max(1.0, run.spacing_ns / self._grid.period_ns)
        low = 0
        while low < len(run):
            if positions[low] - self._knot > self.spec.length + 1:
                if self._begun:
                    self._counted["gaps"] += 1
                positions = positions - self._start(float(positions[low]), run.samples[low : low + 1], windows)
            high = max(low + 1, int(np.searchsorted(positions, self._chunk)))
            wide = np.flatnonzero(np.diff(positions[low:high]) > self.spec.length + 1)
            high = low + int(wide[0]) + 1 if len(wide) else high
            n_before = self._next
            self._place(positions[low:high], run.samples[low:high], span, even=run.even)
            self._emit(windows, _Source(run.take(slice(low, high)), positions[low:high], n_before))
            self._observed_ns = int(run.observed_ns[high - 1])
            self._clock = ClockState.SYNCED if run.synced[high - 1] else ClockState.UNSYNCED
            positions = positions - (self._next - n_before)
            self._knot = float(positions[high - 1])
            self._row = run.samples[high - 1 : high].copy()
            low = high

    def _start(self, position: float, row: NDArray[np.float32], windows: list[Window]) -> int:
        """Begin (again) at a sample: a window's length of cells before it, held from it, not measured.

        Returns:
            How far the next cell moved.
        """
        before = self._next
        skip = int(np.floor(position + 0.5))
        self._hold(windows, at_end=False)
        first = before + skip
        self._origin, self._size = first - self.spec.length, 0
        self._append(np.broadcast_to(row, (self.spec.length, row.shape[1])), False)
        self._end = (first // self.spec.stride + 1) * self.spec.stride
        self._knot, self._row = position - skip - 1.0, row.copy()
        if not self._begun:
            self._begin, self._begun = first, True
        return skip

    def _place(self, positions: NDArray[np.float64], rows: NDArray[np.float32], span: float, *, even: bool) -> None:
        """Append the cells that these samples settle."""
        n_cells = int(np.floor(positions[-1] + self._tolerance)) + 1
        if even and positions[0] == 0.0 and n_cells == len(rows):
            self._append(rows, True)
        elif n_cells > 0:
            knots = np.concatenate([[self._knot], positions])
            values, measured = interpolate(
                knots, np.concatenate([self._last_row(), rows]), n_cells, span=span, tolerance=self._tolerance
            )
            self._append(values, measured)

    def _hold(self, windows: list[Window], *, at_end: bool) -> None:
        """Nothing comes for long: hold the last sample, and make the windows that it still reaches into."""
        if not self._begun:
            return
        n_held = self.spec.length
        measured = np.zeros(n_held, dtype=np.bool_)
        measured[0] = -self._knot <= NEAR
        self._append(np.broadcast_to(self._last_row(), (n_held, self._row.shape[1])), measured)
        self._emit(windows, at_end=at_end)

    def _last_row(self) -> NDArray[np.float32]:
        """The last sample, float32 ``(1, n_channels)``; exactly on the last cell it is the cell."""
        return self._cells[self._size - 1 : self._size].copy() if self._knot == -1.0 and self._size else self._row

    def _append(self, values: NDArray[np.float32], measured: NDArray[np.bool_] | bool) -> None:
        n = len(values)
        if self._size + n > len(self._cells):
            old = min(self._size, max(0, self._end - self.spec.length - self._origin))
            kept = self._size - old
            self._cells[:kept] = self._cells[old : self._size].copy()
            self._measured[:kept] = self._measured[old : self._size].copy()
            self._origin, self._size = self._origin + old, kept
        self._cells[self._size : self._size + n] = values
        self._measured[self._size : self._size + n] = measured
        self._size += n

    def _emit(self, windows: list[Window], source: _Source | None = None, *, at_end: bool = False) -> None:
        """Make every window that ends within the settled cells and holds a measured one."""
        length = self.spec.length
        while self._end <= self._next:
            start = self._end - length
            first = start - self._origin
            coverage = int(np.count_nonzero(self._measured[first : first + length])) / length
            at_edge = at_end or start < self._begin
            if coverage > 0 and (not at_edge or coverage >= self.spec.minimum_coverage):
                observed_ns, clock = (self._observed_ns, self._clock) if source is None else source.of(self._end - 1)
                samples = self._cells[first : first + length].copy()
                windows.append(self._window(start, samples, coverage, observed_ns, clock))
            self._end += self.spec.stride

    def _window(
        self, start: int, samples: NDArray[np.float32], coverage: float, observed_ns: int, clock: ClockState
    ) -> Window:
        """The window whose first cell is `start`."""
        return Window(
            sensor=self.sensor,
            start_ns=self._grid.time_ns(start),
            end_ns=self._grid.time_ns(start + len(samples)),
            samples=samples,
            coverage=coverage,
            observed_ns=observed_ns,
            clock=clock,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Source:
    """The samples that settle some cells; positions count from the cell `base`."""

    run: Run
    positions: NDArray[np.float64]
    base: int

    def of(self, cell: int) -> tuple[int, ClockState]:
        """When the sample that settled `cell` was at hand, and whether the clock could be believed then."""
        row = min(int(np.searchsorted(self.positions, cell - self.base - 0.01)), len(self.run) - 1)
        return int(self.run.observed_ns[row]), ClockState.SYNCED if self.run.synced[row] else ClockState.UNSYNCED
