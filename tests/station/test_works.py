"""What a configuration says reaches the parts that it speaks of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from edge_sdk.base.clock import SystemClock
from edge_sdk.config.station import read_station
from edge_sdk.outbox.memory import MemoryOutbox
from edge_sdk.station.assembly import Assembly
from edge_sdk.station.vitals import Gauges
from edge_sdk.station.works import Works

pytestmark = pytest.mark.anyio

AN_HOUR_MS = 3_600_000


def saying(config: Path, outbox: str) -> Path:
    """The configuration, with this of its outbox."""
    config.write_text(config.read_text() + f"outbox: {outbox}\n")
    return config


async def commits(config: Path, *, enough: Callable[[list[int]], bool]) -> list[int]:
    """How many results each commit of a station holds, until there are enough."""
    clock, found = SystemClock(), list[int]()
    works = Works(
        Assembly(read_station(config), config, clock=clock),
        outbox=MemoryOutbox(clock=clock),
        gauges=Gauges(config.parent),
        clock=clock,
        accepted=lambda rows: found.append(len(rows)),
        noticed=lambda *_: None,
        turned=lambda: None,
    )
    try:
        with anyio.fail_after(120):
            async with anyio.create_task_group() as group:
                group.start_soon(works.run)
                while not enough(found):
                    await anyio.sleep(0.01)
                before_the_stop = list(found)
                works.stop()
    finally:
        works.close()
    return before_the_stop


async def test_results_wait_as_long_as_commit_within_ms_says_until_there_are_commit_results(config: Path) -> None:
    grouping = f"{{commit_within_ms: {AN_HOUR_MS}, commit_results: 7}}"

    assert min(await commits(saying(config, grouping), enough=lambda found: len(found) >= 3)) >= 7


async def test_a_group_that_is_not_full_is_committed_after_commit_within_ms(config: Path) -> None:
    grouping = "{commit_within_ms: 400, commit_results: 1000000}"

    # A block of the sensor gives 2 or 3 results; several of them share a commit.
    assert await commits(saying(config, grouping), enough=lambda found: max(found, default=0) >= 5)
