"""Plantower PMS5003 and its kin: particulate matter and particle counts over a serial line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from msgspec import Meta

from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import ConfigError, nearest
from edge_sdk.sensors.frames import FrameSplitter
from edge_sdk.sensors.line import Line, LineOptions

# In the order of the frame's words: mass by the factory's calibration (CF=1), mass in the open air, particles in 0.1 l.
WORDS = (
    *("pm1_0_cf1", "pm2_5_cf1", "pm10_cf1"),
    *("pm1_0", "pm2_5", "pm10"),
    *("n0_3", "n0_5", "n1_0", "n2_5", "n5_0", "n10"),
)
_SIZE = 32
_SLOWEST_S = 2.5  # in stable air it speaks every 2.3 s, in changing air up to five times a second


def is_sound(frame: bytes) -> bool:
    """Whether the checksum is right (PMS5003 data manual V2.3)."""
    return sum(frame[:30]) == int.from_bytes(frame[30:], "big")


class Pms5003Parser:
    """Frames ``42 4D 00 1C …`` to rows.

    Args:
        channels: Which of `WORDS`, in order.
    """

    def __init__(self, channels: Sequence[str]) -> None:
        self.counters: Counter[str] = Counter()
        self._frames = FrameSplitter(b"BM\x00\x1c", _SIZE, is_sound, self.counters)
        self._columns = [WORDS.index(channel) for channel in channels]

    def begin(self) -> None:
        """Forget what is pending."""
        self._frames.begin()

    def feed(self, data: bytes) -> list[Sequence[float]]:
        """Take what came; give a row for each sound frame."""
        return [
            np.frombuffer(frame, ">u2", len(WORDS), 4)[self._columns].astype(float).tolist()
            for frame in self._frames.feed(data)
        ]


class Pms5003(Line):
    """A Plantower PMS5003 (or PMS7003, PMSA003) on a serial line, in active mode: µg/m³, and particles in 0.1 l."""

    class Options(LineOptions, frozen=True, kw_only=True):
        """Which port, which channels."""

        channels: Annotated[
            tuple[str, ...],
            Meta(min_length=1, description="pm1_0, pm2_5, pm10 in the open air, the same with _cf1, n0_3 to n10."),
        ] = ("pm1_0", "pm2_5", "pm10")

    def __init__(self, name: str, options: Options, *, clock: Clock) -> None:
        for channel in options.channels:
            if channel not in WORDS:
                raise ConfigError(f"A PMS5003 has no channel {channel!r}. {nearest(channel, WORDS)}")
        units = ["1/0.1l" if channel.startswith("n") else "µg/m³" for channel in options.channels]
        super().__init__(
            name,
            options,
            parser=Pms5003Parser(options.channels),
            channels=options.channels,
            units=units,
            clock=clock,
            block_s=_SLOWEST_S,
        )
