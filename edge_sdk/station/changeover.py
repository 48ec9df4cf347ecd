"""The changeover: from one works to the next, without losing a reading that was taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import anyio
import anyio.to_thread

from edge_sdk.base.errors import CommandError
from edge_sdk.station.works import Works


class Changeover:
    """Runs works until they end, then those that follow them.

    Args:
        works: The first.
        changed: Called when other works have taken over.

    Attributes:
        works: Those that run now.
        is_over: Nothing follows any more.
    """

    def __init__(self, works: Works, *, changed: Callable[[], None]) -> None:
        self.works, self.is_over = works, False
        self._changed = changed
        self._following: Works | None = None
        self._taken_over = anyio.Event()
        self._counted: Counter[str] = Counter()  # by works that are no more
        self._is_stopped = False

    async def run(self) -> None:
        """Run works after works, until `stop`, or until their sensors have ended and none follow."""
        while True:
            await self.works.run()
            following, self._following = self._following, None
            if following is None:
                self.is_over = True
                return
            self._counted.update(self.works.counters())
            retired, self.works = self.works, following
            await anyio.to_thread.run_sync(retired.close)
            self._changed()
            taken_over, self._taken_over = self._taken_over, anyio.Event()
            taken_over.set()
            if self._is_stopped:
                self.is_over = True
                return

    async def to(self, works: Works) -> None:
        """Let other works take over; return when they do. What was measured by then is committed.

        Raises:
            CommandError: The station is stopping; the works were closed.
        """
        if self.is_over or self._following is not None:
            await anyio.to_thread.run_sync(works.close)
            raise CommandError("The station stops, or changes over just now.", reason="busy")
        taken_over = self._taken_over
        self._following = works
        self.works.stop()
        await taken_over.wait()

    def stop(self) -> None:
        """Measure no more; `run` returns when what was measured is committed."""
        self._is_stopped = True
        self.works.stop()

    def counters(self) -> Counter[str]:
        """Everything counted by all works."""
        return self._counted + Counter(self.works.counters())

    def close(self) -> None:
        """Let go of all of them."""
        if self._following is not None:
            self._following.close()
        self.works.close()
