"""A simulated sensor: a slow wave with noise, and faults on demand."""

from __future__ import annotations

from typing import Annotated

import anyio
import msgspec
import numpy as np
from msgspec import Meta

from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import SensorError
from edge_sdk.contract.reading import Reading
from edge_sdk.sensors.base import Emit


class Simulated:
    """Each channel is ``mean + swing · sin(2πt/period) + noise``; same seed, same noise."""

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """What to simulate."""

        rate_hz: Annotated[float, Meta(gt=0, description="Samples a second.")] = 1.0
        block_s: Annotated[float, Meta(gt=0, description="Seconds in one block.")] = 1.0
        channels: Annotated[int, Meta(ge=1, description="How many.")] = 1
        mean: Annotated[float, Meta(description="Centre of the wave.")] = 20.0
        swing: Annotated[float, Meta(ge=0, description="Height of the wave.")] = 5.0
        period_s: Annotated[float, Meta(gt=0, description="Length of the wave.")] = 3600.0
        noise: Annotated[float, Meta(ge=0, description="Standard deviation of the noise.")] = 0.1
        seed: int = 0
        fail_every: Annotated[int, Meta(ge=0, description="Lose the sensor after so many blocks; 0 = never.")] = 0

    def __init__(self, name: str, options: Options, *, clock: Clock) -> None:
        self.name, self._options, self._clock = name, options, clock
        self.channels = tuple(str(index) for index in range(options.channels))

    async def run(self, emit: Emit) -> None:
        """Measure for ever, or until the planned failure."""
        options = self._options
        rng = np.random.default_rng(options.seed)
        size = max(1, round(options.block_s * options.rate_hz))
        begun_ns, wall_ns, blocks = self._clock.monotonic_ns(), self._clock.wall_ns(), 0
        while True:
            t_s = (blocks * size + np.arange(size)) / options.rate_hz
            await anyio.sleep(max(0.0, float(t_s[-1]) - (self._clock.monotonic_ns() - begun_ns) / 1e9))
            wave = options.mean + options.swing * np.sin(2 * np.pi * (t_s + wall_ns / 1e9) / options.period_s)
            noise = rng.normal(0.0, options.noise, (size, options.channels))
            await emit(
                Reading(
                    self.name,
                    (wave[:, None] + noise).astype(np.float32),
                    wall_ns + round(float(t_s[0]) * 1e9),
                    rate_hz=options.rate_hz,
                    observed_ns=self._clock.wall_ns(),
                    monotonic_ns=self._clock.monotonic_ns(),
                    clock=self._clock.state(),
                )
            )
            blocks += 1
            if options.fail_every and blocks % options.fail_every == 0:
                raise SensorError(f"Simulated sensor {self.name!r} fails after {blocks} blocks, as planned.")
