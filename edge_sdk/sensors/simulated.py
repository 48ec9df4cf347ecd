"""A simulated sensor: a slow wave with noise, and faults on demand."""

from __future__ import annotations

import heapq
from collections import Counter
from itertools import count
from typing import Annotated

import anyio
import numpy as np
from msgspec import Meta

from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import SensorError
from edge_sdk.contract.reading import Reading
from edge_sdk.sensors.base import Emit, Strict
from edge_sdk.sensors.faults import Delivery, Fault, Faults


class Simulated:
    """Each channel is ``mean + swing · sin(2πt/period) + noise``; same seed, same noise, same faults."""

    class Options(Strict, frozen=True, kw_only=True):
        """What to simulate."""

        rate_hz: Annotated[float, Meta(gt=0, description="Samples a second.")] = 1.0
        block_s: Annotated[float, Meta(gt=0, description="Seconds in one block.")] = 1.0
        channels: Annotated[int, Meta(ge=1, description="How many.")] = 1
        unit: Annotated[str, Meta(description="Unit of them all.")] = ""
        mean: Annotated[float, Meta(description="Centre of the wave, in that unit.")] = 20.0
        swing: Annotated[float, Meta(ge=0, description="Height of the wave, in that unit.")] = 5.0
        period_s: Annotated[float, Meta(gt=0, description="Length of the wave.")] = 3600.0
        noise: Annotated[float, Meta(ge=0, description="Standard deviation of the noise, in that unit.")] = 0.1
        seed: Annotated[int, Meta(description="Where the noise begins; same seed, same noise.")] = 0
        faults: Annotated[tuple[Fault, ...], Meta(description="What goes wrong with it.")] = ()
        fail_every: Annotated[int, Meta(ge=0, description="Lose the sensor after so many blocks; 0 = never.")] = 0

    def __init__(self, name: str, options: Options, *, clock: Clock) -> None:
        self.name, self._options, self._clock = name, options, clock
        self.channels = tuple(str(index) for index in range(options.channels))
        self.units = (options.unit,) * options.channels
        self.rate_hz: float | None = options.rate_hz
        self.block_s = options.block_s
        self.counters: Counter[str] = Counter()

    async def run(self, emit: Emit) -> None:
        """Measure for ever, or until the planned failure."""
        options = self._options
        rng = np.random.default_rng(options.seed) if options.noise or options.faults else None  # 3 MB of memory
        faults = Faults(options.faults, rng)
        size = max(1, round(options.block_s * options.rate_hz))
        begun_ns, wall_ns = self._clock.monotonic_ns(), self._clock.wall_ns()
        waiting: list[tuple[float, int, int, Delivery]] = []  # due, turn, event time, what
        turns = count()
        for blocks in count():
            t_s = (blocks * size + np.arange(size)) / options.rate_hz
            wave = options.mean + options.swing * np.sin(2 * np.pi * (t_s + wall_ns / 1e9) / options.period_s)
            noise = np.zeros((size, options.channels))
            if rng is not None:
                noise += rng.normal(0.0, options.noise, noise.shape)
            start_ns = wall_ns + round(float(t_s[0]) * 1e9)
            for delivery in faults.spoil(float(t_s[0]), (wave[:, None] + noise).astype(np.float32)):
                heapq.heappush(waiting, (float(t_s[-1]) + delivery.later_s, next(turns), start_ns, delivery))
            await self._sleep_until(begun_ns, float(t_s[-1]))
            while waiting and waiting[0][0] <= float(t_s[-1]):
                _, _, due_ns, delivery = heapq.heappop(waiting)
                await emit(self._reading(due_ns, delivery))
            if options.fail_every and (blocks + 1) % options.fail_every == 0:
                raise SensorError(f"Simulated sensor {self.name!r} fails after {blocks + 1} blocks, as planned.")

    async def _sleep_until(self, begun_ns: int, t_s: float) -> None:
        await anyio.sleep(max(0.0, t_s - (self._clock.monotonic_ns() - begun_ns) / 1e9))

    def _reading(self, start_ns: int, delivery: Delivery) -> Reading:
        return Reading(
            self.name,
            delivery.samples,
            start_ns + round(delivery.shift_s * 1e9),
            rate_hz=self._options.rate_hz,
            observed_ns=self._clock.wall_ns(),
            monotonic_ns=self._clock.monotonic_ns(),
            clock=self._clock.state(),
        )
