"""The quota: how much the outbox may hold, and who gives way when it is full. Pure: sizes and numbers, no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from edge_sdk.base.errors import ConfigError

OnFull = Literal["drop_oldest", "thin", "refuse"]
SMALLEST_BYTES = 128 * 1024

Rows = Callable[[int], Iterable[tuple[int, str, int]]]

_RARE = 50  # a priority with less than one in so many of the rows is thin enough


@dataclass(frozen=True, slots=True)
class Quota:
    """What an outbox may hold, and what happens to the rest; every row given up is counted.

    Attributes:
        bytes: What it may grow to; on disk the log takes about 1 MiB more.
        max_age_s: Rows accepted longer ago are given up; None = none is too old. Not applied while the clock is
            unsynced, nor to rows from such a time.
        keep_after_receipt_s: How long a row stays after its receipt, for a monitor that is restored from a backup
            and asks again. These give way first, and are not counted.
        on_full: ``drop_oldest`` gives up the oldest rows, ``thin`` all but every n-th of the oldest, ``refuse`` none.
        keep_every: That n; counted for each stream by itself.
        priorities: Streams whose rows give way earlier (below 0) or later (above 0) than others.

    Raises:
        ConfigError: A number is too small to be meant.
    """

    bytes: int = 256 * 1024 * 1024
    max_age_s: float | None = None
    keep_after_receipt_s: float = 0.0
    on_full: OnFull = "drop_oldest"
    keep_every: int = 5
    priorities: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.bytes < SMALLEST_BYTES:
            raise ConfigError(f"The outbox's quota is {self.bytes} bytes; wanted are at least {SMALLEST_BYTES}.")
        if self.keep_every < 2:
            raise ConfigError(f"keep_every is {self.keep_every}; wanted is at least 2: every second row is kept.")


@dataclass(slots=True)
class _Walk:
    """One walk from the oldest row to the newest, for one priority."""

    after: int = 0
    kept: int = 0
    seen: Counter[str] = field(default_factory=Counter)


class Eviction:
    """Chooses the rows that give way: of the lowest priority first, of that the oldest or all but every n-th.

    It remembers how far it has looked, so that each row is looked at few times in its life.
    """

    def __init__(self, quota: Quota) -> None:
        self._quota = quota
        self._ranks = sorted({0, *quota.priorities.values()})
        self._walks_by_rank = {rank: _Walk() for rank in self._ranks}

    def start_over(self) -> None:
        """Rows have come back below where we have looked."""
        self._walks_by_rank = {rank: _Walk() for rank in self._ranks}

    def choose(self, missing_bytes: int, rows_after: Rows, held: int) -> list[int]:
        """Rows to give up, rising: up to `missing_bytes`, or fewer; delete them and ask again. None = there is none.

        Args:
            missing_bytes: Wanted.
            rows_after: Rows ``(seq, stream, bytes)`` above a number, rising.
            held: How many rows there are about.
        """
        for walk in self._walks(rows_after, held):
            chosen, room = [], missing_bytes
            for seq, size in walk:
                chosen.append(seq)
                room -= size
                if room <= 0:
                    break
            if chosen:
                return chosen
        return []

    def _walks(self, rows_after: Rows, held: int) -> Iterator[Iterator[tuple[int, int]]]:
        if self._quota.on_full == "refuse":
            return
        for rank in self._ranks:
            if self._quota.on_full == "drop_oldest":
                yield self._oldest(rank, rows_after)
                continue
            yield self._thinned(rank, rows_after)
            walk = self._walks_by_rank[rank]
            if walk.kept > len(walk.seen) and walk.kept * _RARE >= held:
                self._walks_by_rank[rank] = _Walk()
                yield self._thinned(rank, rows_after)
        yield ((seq, size) for seq, _, size in rows_after(0))  # all is thin: the oldest go, whatever they are

    def _oldest(self, rank: int, rows_after: Rows) -> Iterator[tuple[int, int]]:
        walk = self._walks_by_rank[rank]
        for seq, stream, size in rows_after(walk.after):
            walk.after = seq
            if self._rank(stream) == rank:
                yield seq, size

    def _thinned(self, rank: int, rows_after: Rows) -> Iterator[tuple[int, int]]:
        walk = self._walks_by_rank[rank]
        for seq, stream, size in rows_after(walk.after):
            walk.after = seq
            if self._rank(stream) != rank:
                continue
            turn = walk.seen[stream] % self._quota.keep_every
            walk.seen[stream] += 1
            if turn:
                yield seq, size
            else:
                walk.kept += 1

    def _rank(self, stream: str) -> int:
        return self._quota.priorities.get(stream, 0)
