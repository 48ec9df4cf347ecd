"""A receipt: what the monitor has stored of one station's epoch. Cumulative, with gaps; retained; only ever grows."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable

import msgspec

from edge_sdk.base.errors import PayloadError

MOST_SEQ = 1 << 53
"""Sequence numbers stay exact in every JSON reader."""
MOST_RANGES = 1000
"""A receipt names the lowest ranges; what is above waits until the gaps below have closed."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """The payload of ``receipt``, published after the monitor's commit.

    Attributes:
        v: Version of this format.
        epoch: The outbox that numbered the results.
        stored: Inclusive ranges of sequence numbers, rising, never touching: ``[[1, 1200], [1205, 1310]]``.
            What lies between two ranges is not stored; what lies above the last may be on its way.
    """

    v: int
    epoch: str
    stored: tuple[tuple[int, int], ...]

    def holds(self, seq: int) -> bool:
        """Whether the monitor has stored `seq`."""
        at = bisect_right(self.stored, (seq, 1 << 62)) - 1
        return at >= 0 and self.stored[at][1] >= seq


def encode_receipt(receipt: Receipt) -> bytes:
    """The payload of ``receipt``."""
    return msgspec.json.encode(receipt)


def decode_receipt(payload: bytes) -> Receipt:
    """Read the payload of ``receipt``.

    Raises:
        PayloadError: It is not such a payload, or its ranges are not rising numbers up to `MOST_SEQ`.
    """
    try:
        receipt = msgspec.json.decode(payload, type=Receipt)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadError(f"Payload cannot be read as a receipt: {error}.", reason="malformed") from error
    last = 0
    for low, high in receipt.stored:
        if not last < low <= high <= MOST_SEQ:
            raise PayloadError(f"Receipt ranges {receipt.stored} do not rise.", reason="schema")
        last = high + 1
    return receipt


class Ranges:
    """A growing set of sequence numbers, kept as inclusive ranges: what a receipt is made from.

    16 bytes a range, so that an outbox with very many holes costs little memory.
    """

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._lows, self._highs = array("q"), array("q")
        self._count = 0
        for low, high in ranges:
            self._lows.append(low)
            self._highs.append(high)
            self._count += high - low + 1

    def __contains__(self, seq: int) -> bool:
        at = bisect_right(self._lows, seq) - 1
        return at >= 0 and self._highs[at] >= seq

    def add(self, low: int, high: int | None = None) -> int:
        """Add ``low … high`` (`high` included; alone it is `low`); returns how many of them are new."""
        high = low if high is None else high
        before = self._count
        if self._highs and self._highs[-1] + 1 == low:  # the ordinary case: the next in line
            self._highs[-1] = high
            self._count += high - low + 1
            return high - low + 1
        first = bisect_left(self._highs, low - 1)
        last = bisect_right(self._lows, high + 1)
        if last > first:
            low, high = min(low, self._lows[first]), max(high, self._highs[last - 1])
            self._count -= sum(self._highs[first:last]) - sum(self._lows[first:last]) + last - first
        self._count += high - low + 1
        self._lows[first:last] = array("q", (low,))
        self._highs[first:last] = array("q", (high,))
        return self._count - before

    @property
    def top(self) -> int:
        """The highest number in it; 0 when empty."""
        return self._highs[-1] if self._highs else 0

    @property
    def first(self) -> int:
        """The lowest number in it; 0 when empty."""
        return self._lows[0] if self._lows else 0

    def __bool__(self) -> bool:
        return bool(self._lows)

    def __len__(self) -> int:
        return self._count

    def overlap(self, low: int, high: int) -> list[tuple[int, int]]:
        """What of ``low … high`` is in it, as rising ranges."""
        at, end = bisect_left(self._highs, low), bisect_right(self._lows, high)
        return [(max(low, self._lows[n]), min(high, self._highs[n])) for n in range(at, end)]

    def holes(self, low: int, high: int) -> list[tuple[int, int]]:
        """What of ``low … high`` is not in it, as rising ranges."""
        return between(self.overlap(low, high), low, high)

    def take(self, low: int, high: int) -> list[tuple[int, int]]:
        """Remove ``low … high``; return what of it was there, as rising ranges."""
        taken = self.overlap(low, high)
        if taken:
            first, last = bisect_left(self._highs, low), bisect_right(self._lows, high)
            left = [(self._lows[first], low - 1), (high + 1, self._highs[last - 1])]
            left = [span for span in left if span[0] <= span[1]]
            self._lows[first:last] = array("q", (span[0] for span in left))
            self._highs[first:last] = array("q", (span[1] for span in left))
            self._count -= sum(end - begin + 1 for begin, end in taken)
        return taken

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The ranges, rising."""
        return tuple(zip(self._lows, self._highs, strict=True))


def runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Rising numbers as inclusive ranges."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and found[-1][1] + 1 == number:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def between(spans: Iterable[tuple[int, int]], low: int, high: int) -> list[tuple[int, int]]:
    """What of ``low … high`` is in none of the rising ranges, which lie within it."""
    found, at = [], low
    for begin, end in spans:
        if begin > at:
            found.append((at, begin - 1))
        at = end + 1
    if at <= high:
        found.append((at, high))
    return found
