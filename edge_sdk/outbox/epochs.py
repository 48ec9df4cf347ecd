"""Epochs: which of them numbered which rows of an outbox. Pure: numbers and names, no I/O.

Rows are numbered through, for as long as there is the file. An epoch begins at one of these numbers, and counts from 1
there: what is written on the wire is the epoch, and the number within it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container, Iterable, Sequence
from typing import NamedTuple

from edge_sdk.base.ids import new_epoch
from edge_sdk.contract.receipt import MOST_SEQ

UNTOLD = 16
"""So many epochs without rows are remembered until the monitor knows that nothing more comes of them."""


class Epoch(NamedTuple):
    """One epoch of an outbox.

    Attributes:
        id: Random, 16 hexadecimal digits.
        before: Rows of the outbox that are older: row ``before + n`` is number ``n`` of the epoch.
        last: The outbox's number of its last row; the highest number there can be while it goes on.
    """

    id: str
    before: int
    last: int = MOST_SEQ

    @property
    def span(self) -> tuple[int, int]:
        """The outbox's numbers of its first row and its last."""
        return self.before + 1, self.last

    def rows(self, numbers: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Ranges of numbers of the epoch as ranges of the outbox; what goes beyond its last row is left out."""
        found = ((low + self.before, min(high + self.before, self.last)) for low, high in numbers)
        return [span for span in found if span[0] <= span[1]]

    def numbers(self, rows: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Ranges of the outbox as ranges of numbers of the epoch."""
        return [(low - self.before, high - self.before) for low, high in rows]


class Epochs:
    """Those of one outbox, oldest first; the last goes on.

    Args:
        beginnings: How many rows are older than each, and its id; rising.
    """

    def __init__(self, beginnings: Sequence[tuple[int, str]]) -> None:
        self.beginnings = tuple(beginnings)
        ends = [before for before, _ in self.beginnings[1:]]
        self._all = [
            Epoch(name, before, last) for (before, name), last in zip(self.beginnings, [*ends, MOST_SEQ], strict=True)
        ]
        self._befores = [one.before for one in self._all]

    @property
    def current(self) -> Epoch:
        """The one that goes on."""
        return self._all[-1]

    @property
    def former(self) -> Sequence[Epoch]:
        """Those that do not."""
        return self._all[:-1]

    def of(self, row: int) -> Epoch:
        """The one that numbered a row."""
        if row > self._befores[-1]:
            return self._all[-1]
        return self._all[max(0, bisect_right(self._befores, row - 1) - 1)]

    def named(self, epoch: str) -> Epoch | None:
        """The one of that id, if it is one of these."""
        return next((one for one in self._all if one.id == epoch), None)

    def renewed(self, newest: int, oldest: int) -> Epochs:
        """With a new one that begins behind row `newest`.

        Those that have no row from `oldest` on are left out, but for the last of them: a monitor may wait for theirs.
        """
        kept = [one for one in self._all if one.before < newest]
        gone = sum(min(one.last, newest) < oldest for one in kept)
        return Epochs([*((one.before, one.id) for one in kept[max(0, gone - UNTOLD) :]), (newest, new_epoch())])

    def without(self, done: Container[str]) -> Epochs:
        """Without the oldest ones, as far as they are among `done`; never without the present one."""
        count = next((at for at, one in enumerate(self.former) if one.id not in done), len(self.former))
        return Epochs(self.beginnings[count:]) if count else self
