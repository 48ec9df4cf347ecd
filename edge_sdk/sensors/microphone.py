"""A microphone, or any input that ALSA has."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import MissingExtraError
from edge_sdk.contract.reading import Reading
from edge_sdk.sensors.base import Emit, Strict
from edge_sdk.sensors.stamp import Stamp
from edge_sdk.sensors.wav import UNIT
from edge_sdk.sensors.worker import Worker

if TYPE_CHECKING:
    from edge_sdk.sensors.sounddevice import SoundInput


class Microphone:
    """A microphone or line input, by ALSA: blocks of float32 samples, full scale is 1."""

    class Options(Strict, frozen=True, kw_only=True):
        """Which input, at which rate."""

        device: Annotated[
            str | None,
            Meta(description="Part of its name (see `python -m sounddevice`); default: the system's."),
        ] = None
        rate_hz: Annotated[float, Meta(gt=0, le=384_000, description="Samples a second.")] = 16_000.0
        channels: Annotated[int, Meta(ge=1, le=64, description="How many.")] = 1
        block_s: Annotated[float, Meta(gt=0, le=0.5, description="Seconds in one block.")] = 0.1

    def __init__(self, name: str, options: Options, *, clock: Clock) -> None:
        if importlib.util.find_spec("sounddevice") is None:
            raise MissingExtraError(f"Sensor {name!r}", extra="audio")
        self.name, self._options, self._clock = name, options, clock
        self.channels = tuple(str(index) for index in range(options.channels))
        self.units = (UNIT,) * options.channels
        self.rate_hz: float | None = options.rate_hz
        self.block_s = options.block_s
        self.counters: Counter[str] = Counter()

    async def run(self, emit: Emit) -> None:
        """Listen for ever.

        Raises:
            SensorError: It is not there, or was pulled out.
        """
        await Worker(self.name).pump(self._open, emit)

    def _open(self) -> _Listener:
        from edge_sdk.sensors.sounddevice import SoundInput

        options = self._options
        size = max(1, round(options.block_s * options.rate_hz))
        opened = SoundInput(options.device, rate_hz=options.rate_hz, channels=options.channels, block=size)
        return _Listener(opened, Stamp(self.name, self._clock, options.rate_hz), self.counters)


class _Listener:
    """An open input."""

    def __init__(self, sound: SoundInput, stamp: Stamp, counters: Counter[str]) -> None:
        self._sound, self._stamp, self._counters = sound, stamp, counters

    def read(self) -> Iterable[Reading]:
        samples, is_broken = self._sound.read()
        if is_broken:
            self._counters["samples.overflowed"] += 1
        return (self._stamp.reading(samples),)

    def close(self) -> None:
        self._sound.close()
