"""Polling: ask for a sample at each beat of a grid that lies on the wall clock."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Annotated, Protocol

import anyio
import numpy as np
from msgspec import Meta

from edge_sdk.base.clock import Clock
from edge_sdk.contract.reading import Reading
from edge_sdk.sensors.base import Emit, Strict
from edge_sdk.sensors.worker import Worker

_IN_THREAD_S = 0.05
_LONGEST_SLEEP_S = 0.4
_CLOCK_SET_S = 60.0


class PollOptions(Strict, frozen=True, kw_only=True):
    """How often to ask."""

    rate_hz: Annotated[float, Meta(gt=0, le=10_000, description="Samples a second.")] = 1.0
    block_s: Annotated[
        float, Meta(gt=0, le=10, description="Seconds that are handed on together; at least one sample.")
    ] = 0.2


class Beats:
    """Moments ``k / rate_hz`` since the Unix epoch: sensors of one rate are asked at the same moments.

    Args:
        rate_hz: Beats a second.
    """

    def __init__(self, rate_hz: float) -> None:
        rate = Fraction(rate_hz).limit_denominator(1_000_000)
        period = 1_000_000_000 / (rate or Fraction(rate_hz))
        self._numerator, self._denominator = period.numerator, period.denominator

    def time_ns(self, beat: int) -> int:
        """When a beat is, nanoseconds since the epoch."""
        return (beat * self._numerator * 2 + self._denominator) // (self._denominator * 2)

    def nearest(self, time_ns: int) -> int:
        """The beat nearest to a time."""
        return (time_ns * self._denominator * 2 + self._numerator) // (self._numerator * 2)

    def after(self, time_ns: int) -> int:
        """The first beat that is not over."""
        return -(-time_ns * self._denominator // self._numerator)


class Sampler(Protocol):
    """Something open that can be asked, in one thread at a time."""

    def sample(self) -> Sequence[float] | None:
        """One value for each channel, NaN = not measured; None when there is nothing to say.

        Raises:
            SensorError: It does not answer. An OSError is taken for one.
        """

    def close(self) -> None:
        """Let go; must not raise."""


class Polled:
    """A sensor that is asked for each sample: the part that all of them share.

    Args:
        name: The sensor's name.
        options: How often.
        channels: Names of its channels.
        units: Their units, in order.
        clock: Where time comes from.
    """

    def __init__(
        self, name: str, options: PollOptions, *, channels: Sequence[str], units: Sequence[str], clock: Clock
    ) -> None:
        self.name, self.channels, self.units = name, tuple(channels), tuple(units)
        self.rate_hz: float | None = options.rate_hz
        self.block_s = options.block_s
        self.counters: Counter[str] = Counter()
        self._poll_options, self._clock = options, clock

    def open(self) -> Sampler:
        """Open it, in a worker thread. Raises SensorError."""
        raise NotImplementedError

    async def run(self, emit: Emit) -> None:
        """Poll for ever.

        Raises:
            SensorError: It does not answer.
        """
        worker = Worker(self.name)
        sampler = await worker.open(self.open)
        try:
            poller = Poller(self.name, self._poll_options, clock=self._clock, counters=self.counters)
            await poller.run(worker, sampler.sample, emit)
        finally:
            await worker.close(sampler.close)


class Poller:
    """Asks for a sample at each beat, for one run, and hands on blocks. A missed beat is a gap, and counted.

    Slow polls sleep on the event loop and ask in a thread; quick ones (more than 20 a second) keep the thread for
    a block, so that a sample costs no visit to the event loop.

    Args:
        sensor: Name of the sensor.
        options: How often.
        clock: Where time comes from.
        counters: Gets ``samples.missed``: beats that passed unused because an answer came too late;
            ``samples.unreadable``: beats at which the source had nothing to say (`sample` gave None);
            ``clock.steps``: times that the clock was set forward by more than a minute.
    """

    def __init__(self, sensor: str, options: PollOptions, *, clock: Clock, counters: Counter[str]) -> None:
        self._sensor, self._options, self._clock, self._counters = sensor, options, clock, counters
        self._beats = Beats(options.rate_hz)
        self._size = max(1, round(options.block_s * options.rate_hz))
        self._stopped = threading.Event()

    async def run(self, worker: Worker, sample: Callable[[], Sequence[float] | None], emit: Emit) -> None:
        """Poll until cancelled; `sample` is called in the worker's thread.

        Raises:
            SensorError: What `sample` raised.
        """
        beat = self._beats.after(self._clock.wall_ns())
        rows: list[Sequence[float] | None] = []
        in_thread = self._options.rate_hz > 1.0 / _IN_THREAD_S
        try:
            while True:
                if in_thread:
                    beat, rows = await worker.do(lambda beat=beat: self._block(beat, sample))  # type: ignore[misc]
                else:
                    beat, rows = await self._slow_block(beat, worker, sample)
                if rows:
                    await self._hand_on(beat, rows, emit)
                beat = self._onward(beat + len(rows))
        finally:
            self._stopped.set()

    async def _slow_block(
        self, beat: int, worker: Worker, sample: Callable[[], Sequence[float] | None]
    ) -> tuple[int, list[Sequence[float] | None]]:
        rows: list[Sequence[float] | None] = []
        while len(rows) < self._size:
            while (wait_s := self._wait_s(beat + len(rows))) > 0:  # noqa: ASYNC110
                await anyio.sleep(min(wait_s, _LONGEST_SLEEP_S))  # in parts, since the clock may be set
            if self._is_off(beat + len(rows)):
                break
            rows.append(await worker.do(sample))
        return beat, rows

    def _block(
        self, beat: int, sample: Callable[[], Sequence[float] | None]
    ) -> tuple[int, list[Sequence[float] | None]]:
        rows: list[Sequence[float] | None] = []
        while len(rows) < self._size:
            while (wait_s := self._wait_s(beat + len(rows))) > 0:
                if self._stopped.wait(min(wait_s, _LONGEST_SLEEP_S)):
                    return beat, []
            if self._is_off(beat + len(rows)):
                break
            rows.append(sample())
        return beat, rows

    def _wait_s(self, beat: int) -> float:
        """How long until a beat; nothing, if the clock was set back so that it would be long."""
        wait_s = (self._beats.time_ns(beat) - self._clock.wall_ns()) / 1e9
        return wait_s if wait_s <= 2.0 / self._options.rate_hz + _LONGEST_SLEEP_S else 0.0

    def _is_off(self, beat: int) -> bool:
        """Whether it is another beat's turn: we are late by a whole one, or the clock was set."""
        return abs(self._beats.nearest(self._clock.wall_ns()) - beat) > 1

    def _onward(self, beat: int) -> int:
        """The next beat to wait for; the ones that are over are counted and left out."""
        now = self._beats.after(self._clock.wall_ns())
        if 0 <= beat - now <= self._size + 2:
            return beat
        if beat == now - 1:  # only just over: it can still be asked for
            return beat
        if beat < now:
            was_set = now - beat > _CLOCK_SET_S * self._options.rate_hz + self._size
            self._counters["clock.steps" if was_set else "samples.missed"] += 1 if was_set else now - beat
        return now

    async def _hand_on(self, beat: int, rows: Sequence[Sequence[float] | None], emit: Emit) -> None:
        """Runs of rows without a hole, as readings."""
        first = 0
        while first < len(rows):
            if rows[first] is None:
                self._counters["samples.unreadable"] += 1
                first += 1
                continue
            last = first
            while last < len(rows) and rows[last] is not None:
                last += 1
            await emit(
                Reading(
                    self._sensor,
                    np.asarray(rows[first:last], dtype=np.float32),
                    self._beats.time_ns(beat + first),
                    rate_hz=self._options.rate_hz,
                    observed_ns=self._clock.wall_ns(),
                    monotonic_ns=self._clock.monotonic_ns(),
                    clock=self._clock.state(),
                )
            )
            first = last
