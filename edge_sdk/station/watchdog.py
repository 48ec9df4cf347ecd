"""The watchdog: proves now and then that work goes on, and tells systemd only then."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from edge_sdk.base.clock import Clock
from edge_sdk.station.notify import Notifier

_EVERY_S = 10.0
_LIMIT_S = 60.0


class Watchdog:
    """Sends a pulse through the works; when it arrives, nothing hangs.

    Attributes:
        name: Name of its task.
        limit_s: An older proof is none.

    Args:
        pulse: Returns when every stream and the commit have done what came before.
        notifier: Tells systemd.
        clock: Where monotonic time comes from.
    """

    name = "watchdog"

    def __init__(self, pulse: Callable[[], Awaitable[None]], notifier: Notifier, *, clock: Clock) -> None:
        self._pulse, self._notifier, self._clock = pulse, notifier, clock
        self._every_s = min(_EVERY_S, (notifier.watchdog_s or _LIMIT_S) / 3)
        self.limit_s = notifier.watchdog_s or _LIMIT_S
        self._proven_ns = clock.monotonic_ns()

    @property
    def age_s(self) -> float:
        """How long ago it was last proven that work goes on."""
        return (self._clock.monotonic_ns() - self._proven_ns) / 1e9

    async def run(self) -> None:
        """Prove it again and again, until cancelled."""
        while True:
            await self._pulse()
            self._proven_ns = self._clock.monotonic_ns()
            self._notifier.alive()
            await anyio.sleep(self._every_s)
