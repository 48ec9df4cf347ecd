"""Retention: one task that rolls up what is new and deletes what is old, slice by slice, commits in between."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import anyio
import anyio.to_thread

from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import StoreError
from edge_sdk.monitor.store.base import Limits, Store

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Retention:
    """Keeps charts quick and the store from growing for ever.

    Attributes:
        store: What is rolled up and pruned.
        limits: How long things are kept.
        clock: The time.
        interval_s: How often it looks.
        pause_s: Between slices.
    """

    store: Store
    limits: Limits
    clock: Clock
    interval_s: float = 60.0
    pause_s: float = 0.05
    name: str = "retention"

    async def run(self) -> None:
        """Prune until cancelled."""
        while True:
            try:
                for work in (self.store.roll_up, self._prune):
                    done = 0
                    while found := await anyio.to_thread.run_sync(work):
                        done += found
                        await anyio.sleep(self.pause_s)
                    if done:
                        log.info("retention worked", extra={"what": work.__name__.strip("_"), "rows": done})
            except StoreError as error:
                log.error("retention cannot work", extra={"reason": str(error)})
            await anyio.sleep(self.interval_s)

    def _prune(self) -> int:
        return self.store.prune(self.limits, now_ns=self.clock.wall_ns())
