"""What a sensor promises."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Protocol, runtime_checkable

import msgspec
from msgspec import Meta

from edge_sdk.contract.reading import Reading

Emit = Callable[[Reading], Awaitable[None]]
Positive = Annotated[float, Meta(gt=0)]


class Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every sensor's ``Options``: an unknown option is an error with the nearest name."""


class Sensor(Protocol):
    """Something that measures.

    A plug-in of ``edge_sdk.sensors`` is a class with ``Options`` (a strict msgspec struct) and
    ``__init__(self, name: str, options: Options, *, clock: Clock)``; nothing is opened before `run`.

    Attributes:
        name: Its name in the station's configuration; the `sensor` of its readings.
    """

    name: str

    @property
    def channels(self) -> Sequence[str]:
        """Names of its channels, in order."""

    async def run(self, emit: Emit) -> None:
        """Open, measure and hand every block to `emit` until cancelled; return when the source has ended.

        Whatever blocks is done in a worker thread (see `worker.Worker`). When it is cancelled, or fails, everything
        is closed again, so that it can be run anew.

        Raises:
            SensorError: It does not answer. The keeper waits with back-off and runs it again.
        """


@runtime_checkable
class Instrument(Sensor, Protocol):
    """A sensor that says more of itself, so that its keeper can watch it. Ours all do."""

    @property
    def units(self) -> Sequence[str]:
        """Unit of each channel, in order: ``°C``, ``m/s²`` …; empty = not known, or none."""

    @property
    def rate_hz(self) -> float | None:
        """Samples a second in ordinary times; None = they come when they come."""

    @property
    def block_s(self) -> float:
        """Seconds from one block to the next in ordinary times, at most; 0 = not known."""

    @property
    def counters(self) -> Mapping[str, int]:
        """What it dropped, and why, by dotted name: ``lines.malformed``. Only ever grows."""
