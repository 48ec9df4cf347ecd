"""A receipt: what the monitor has stored of one station's epoch. Cumulative, with gaps; retained; only ever grows."""

from __future__ import annotations

from bisect import bisect_right

import msgspec

from edge_sdk.base.errors import PayloadError


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
        PayloadError: It is not such a payload, or its ranges are not rising.
    """
    try:
        receipt = msgspec.json.decode(payload, type=Receipt)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadError(f"Payload cannot be read as a receipt: {error}.", reason="malformed") from error
    last = 0
    for low, high in receipt.stored:
        if not last < low <= high:
            raise PayloadError(f"Receipt ranges {receipt.stored} do not rise.", reason="schema")
        last = high + 1
    return receipt


class Ranges:
    """A growing set of sequence numbers, kept as inclusive ranges: what a receipt is made from."""

    def __init__(self, ranges: tuple[tuple[int, int], ...] = ()) -> None:
        self._ranges = [list(item) for item in ranges]

    def __contains__(self, seq: int) -> bool:
        at = bisect_right(self._ranges, [seq, 1 << 62]) - 1
        return at >= 0 and self._ranges[at][1] >= seq

    def add(self, low: int, high: int | None = None) -> None:
        """Add ``low … high`` (`high` included; alone it is `low`); merge with what it touches."""
        high = low if high is None else high
        if self._ranges and self._ranges[-1][1] + 1 == low:  # the ordinary case: the next in line
            self._ranges[-1][1] = high
            return
        first = bisect_right(self._ranges, [low - 1, 1 << 62])
        if first and self._ranges[first - 1][1] >= low - 1:
            first -= 1
        last = first
        while last < len(self._ranges) and self._ranges[last][0] <= high + 1:
            last += 1
        if last > first:
            low = min(low, self._ranges[first][0])
            high = max(high, self._ranges[last - 1][1])
        self._ranges[first:last] = [[low, high]]

    @property
    def top(self) -> int:
        """The highest number in it; 0 when empty."""
        return self._ranges[-1][1] if self._ranges else 0

    @property
    def first(self) -> int:
        """The lowest number in it; 0 when empty."""
        return self._ranges[0][0] if self._ranges else 0

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def __len__(self) -> int:
        return sum(high - low + 1 for low, high in self._ranges)

    def overlap(self, low: int, high: int) -> list[tuple[int, int]]:
        """What of ``low … high`` is in it, as rising ranges."""
        at = bisect_right(self._ranges, [low, 1 << 62]) - 1
        if at < 0 or self._ranges[at][1] < low:
            at += 1
        found = []
        while at < len(self._ranges) and self._ranges[at][0] <= high:
            found.append((max(low, self._ranges[at][0]), min(high, self._ranges[at][1])))
            at += 1
        return found

    def take(self, low: int, high: int) -> list[tuple[int, int]]:
        """Remove ``low … high``; return what of it was there, as rising ranges."""
        taken = self.overlap(low, high)
        if taken:
            first = bisect_right(self._ranges, [taken[0][0], 1 << 62]) - 1
            last = first + len(taken)
            left = [[self._ranges[first][0], low - 1], [high + 1, self._ranges[last - 1][1]]]
            self._ranges[first:last] = [item for item in left if item[0] <= item[1]]
        return taken

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The ranges, rising."""
        return tuple((low, high) for low, high in self._ranges)
