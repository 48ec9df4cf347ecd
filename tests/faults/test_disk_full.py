"""A disk that is full: no crash, the policy is applied and counted, and it recovers by itself."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from edge_sdk.base.clock import ManualClock
from edge_sdk.base.errors import OutboxFullError
from edge_sdk.outbox.quota import Quota
from edge_sdk.outbox.sqlite import SqliteOutbox
from tests.outbox.test_outbox import result

KIB = 1024


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """What the test opens is closed, however it ends."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(params=[2, 6])
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A filesystem of so many MiB; the outbox's log alone takes one."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={request.param}m", "tmpfs", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no small filesystem can be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path) -> Path:
    """Take all the space that is left."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4 * KIB))
        except OSError:
            pass
    return filler


def test_a_disk_smaller_than_the_quota_gives_up_the_oldest_and_counts_them(small_disk: Path, opened: ExitStack) -> None:
    outbox = opened.enter_context(
        closing(SqliteOutbox.open(small_disk / "outbox.db", clock=ManualClock(), quota=Quota(bytes=64 * KIB * KIB)))
    )

    for n in range(600):
        outbox.put([result(n, padding=1000) for _ in range(10)])

    stats = outbox.stats()
    assert stats.newest == 6000
    assert stats.dropped > 0
    assert [row.seq for row in outbox.read(after=0, limit=10_000)] == list(range(stats.oldest, 6001))
    assert stats.rows == 6000 - stats.dropped > 200


def test_a_disk_that_others_fill_costs_old_results_and_recovers_when_there_is_room_again(
    small_disk: Path, opened: ExitStack
) -> None:
    clock = ManualClock()
    outbox = opened.enter_context(
        closing(SqliteOutbox.open(small_disk / "outbox.db", clock=clock, quota=Quota(bytes=64 * KIB * KIB)))
    )
    for n in range(100):
        outbox.put([result(n, padding=1000) for _ in range(10)])
    filler = fill(small_disk)

    accepted = 0
    for n in range(200):
        try:
            accepted += len(outbox.put([result(n, padding=1000) for _ in range(10)]))
        except OutboxFullError:
            continue  # loud, and the engine counts it
    full = outbox.stats()
    assert accepted > 0
    assert full.dropped + full.rows == full.newest

    filler.unlink()
    clock.advance(61)
    for n in range(50):
        outbox.put([result(n, padding=1000) for _ in range(10)])
    assert outbox.stats().rows > full.rows


def test_a_station_that_boots_on_a_full_disk_begins_its_epoch_and_goes_on(small_disk: Path, opened: ExitStack) -> None:
    quota = Quota(bytes=64 * KIB * KIB)
    path = small_disk / "outbox.db"
    with closing(SqliteOutbox.open(path, clock=ManualClock(), quota=quota)) as outbox:
        for n in range(20):
            outbox.put([result(n, padding=1000) for _ in range(10)])
        former = outbox.epoch
    moved = small_disk / "moved"
    moved.mkdir()
    for file in list(small_disk.glob("outbox.db*")):  # another place: as after a boot, nobody vouches for it
        file.rename(moved / file.name)
    fill(small_disk)

    outbox = opened.enter_context(closing(SqliteOutbox.open(moved / "outbox.db", clock=ManualClock(), quota=quota)))

    assert outbox.epoch != former
    accepted = 0
    for n in range(100):
        with suppress(OutboxFullError):
            accepted += len(outbox.put([result(n, padding=1000) for _ in range(10)]))
    stats = outbox.stats()
    assert accepted > 0
    assert stats.rows + stats.dropped == stats.newest == 200 + accepted


def test_a_full_disk_is_refused_with_the_cure_when_so_configured(small_disk: Path, opened: ExitStack) -> None:
    outbox = opened.enter_context(
        closing(
            SqliteOutbox.open(
                small_disk / "outbox.db", clock=ManualClock(), quota=Quota(bytes=64 * KIB * KIB, on_full="refuse")
            )
        )
    )
    accepted, group = 0, [result(n, padding=1000) for n in range(10)]
    with suppress(OutboxFullError):
        while accepted < 10_000:
            accepted += len(outbox.put(group))

    with pytest.raises(OutboxFullError, match="Free space on that disk"):
        outbox.put(group)
    assert outbox.stats().rows == accepted == len(outbox.read(after=0, limit=100_000))
