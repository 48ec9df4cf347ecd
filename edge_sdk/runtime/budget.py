"""The budget: how many threads of inference run at once on the whole station, and who goes first."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Budget:
    """Cores shared by every model of the station; taken for one call of a model at a time.

    Who has the higher priority goes first, and among equals who came first; a call that runs is never interrupted.

    Attributes:
        cores: How many there are.
    """

    def __init__(self, cores: int) -> None:
        self.cores = max(1, cores)
        self._free = self.cores
        self._tickets = itertools.count()
        self._waiting: list[tuple[int, int]] = []
        self._changed = threading.Condition()

    @property
    def waiting(self) -> int:
        """How many calls wait for cores."""
        return len(self._waiting)

    @contextmanager
    def hold(self, threads: int, *, priority: int = 0) -> Iterator[None]:
        """Wait until so many cores are free, and keep them for the block.

        Args:
            threads: How many; more than there are counts as all of them.
            priority: The higher goes first.
        """
        threads = min(threads, self.cores)
        me = (-priority, next(self._tickets))
        with self._changed:
            heapq.heappush(self._waiting, me)
            self._changed.wait_for(lambda: self._waiting[0] == me and self._free >= threads)
            heapq.heappop(self._waiting)
            self._free -= threads
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += threads
                self._changed.notify_all()
