"""The farewell: told to stop, a station drains its outbox as far as there is time."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import anyio.abc

from edge_sdk.base.clock import Clock
from edge_sdk.outbox.base import Outbox
from edge_sdk.station.notify import Notifier

log = logging.getLogger(__name__)

_DRAIN_POLL_S = 0.05
_GOODBYE_S = 10.0


class Farewell:
    """Hears the signals: SIGTERM and SIGINT stop, SIGHUP reloads.

    Args:
        stop: Lets the work end.
        reload: Reads the configuration again.
        notifier: The service manager.
        clock: Where monotonic time comes from.
        drain_s: After a signal to stop, how long the outbox may still drain.

    Attributes:
        name: Name of its task.
    """

    name = "signals"

    def __init__(
        self,
        *,
        stop: Callable[[], None],
        reload: Callable[[], Coroutine[Any, Any, None]],
        notifier: Notifier,
        clock: Clock,
        drain_s: float,
    ) -> None:
        self._stop, self._reload, self._notifier, self._clock = stop, reload, notifier, clock
        self._drain_s = drain_s
        self._is_stopped = self._is_hurried = False

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Hear signals until cancelled."""
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            task_status.started()
            async with anyio.create_task_group() as group:
                async for number in signals:
                    if number == signal.SIGHUP:
                        group.start_soon(self._reload, name="reload")
                        continue
                    log.info("station is told to stop", extra={"signal": number.name})
                    self._is_hurried = self._is_stopped
                    self._is_stopped = True
                    self._notifier.stopping(self._drain_s + _GOODBYE_S)
                    self._stop()

    async def drain(self, outbox: Outbox) -> None:
        """Wait until the outbox is empty; after a signal no longer than its time, after a second one not at all."""
        begun_ns: int | None = None
        while outbox.stats().rows and not self._is_hurried:
            if self._is_stopped:
                begun_ns = begun_ns or self._clock.monotonic_ns()
                if self._clock.monotonic_ns() - begun_ns > self._drain_s * 1e9:
                    return
            await anyio.sleep(_DRAIN_POLL_S)
