"""What a sensor promises."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from edge_sdk.contract.reading import Reading

Emit = Callable[[Reading], Awaitable[None]]


class Sensor(Protocol):
    """Something that measures.

    A plug-in of ``edge_sdk.sensors`` is a class with ``Options`` (a strict msgspec struct) and
    ``__init__(self, name: str, options: Options, *, clock: Clock)``; nothing is opened before `run`.

    Attributes:
        name: Its name in the station's configuration; the `sensor` of its readings.
        channels: Names of its channels, in order.
    """

    name: str
    channels: Sequence[str]

    async def run(self, emit: Emit) -> None:
        """Open, measure and hand every block to `emit` until cancelled; return when the source has ended.

        Raises:
            SensorError: It does not answer. The engine waits with back-off and runs it again.
        """
