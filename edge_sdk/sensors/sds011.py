"""Nova SDS011: particulate matter over a serial line, ten bytes a second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from edge_sdk.base.clock import Clock
from edge_sdk.sensors.base import Positive
from edge_sdk.sensors.frames import FrameSplitter
from edge_sdk.sensors.line import Line, LineOptions

CHANNELS = ("pm2_5", "pm10")
_SIZE = 10


def is_sound(frame: bytes) -> bool:
    """Whether tail and checksum are right (Laser Dust Sensor Control Protocol V1.3)."""
    return frame[9] == 0xAB and sum(frame[2:8]) & 0xFF == frame[8]


class Sds011Parser:
    """Frames ``AA C0 …`` of the SDS011 to rows of µg/m³."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._frames = FrameSplitter(b"\xaa\xc0", _SIZE, is_sound, self.counters)

    def begin(self) -> None:
        """Forget what is pending."""
        self._frames.begin()

    def feed(self, data: bytes) -> list[Sequence[float]]:
        """Take what came; give a row for each sound frame."""
        return [
            [int.from_bytes(frame[at : at + 2], "little") / 10 for at in (2, 4)] for frame in self._frames.feed(data)
        ]


class Sds011(Line):
    """A Nova SDS011 on a serial line, as it comes from the shop: PM2.5 and PM10 in µg/m³, once a second."""

    class Options(LineOptions, frozen=True, kw_only=True):
        """Which port."""

        rate_hz: Annotated[
            Positive | None, Meta(description="Samples a second; less where a working period is set in the device.")
        ] = 1.0

    def __init__(self, name: str, options: Options, *, clock: Clock) -> None:
        super().__init__(name, options, parser=Sds011Parser(), channels=CHANNELS, units=("µg/m³",) * 2, clock=clock)
