"""A sieve: a set of numbers with very many holes, in two bits for each number or less."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable

from edge_sdk.contract.receipt import Ranges, between

_CHUNK = 4096
_MANY = 16  # ranges in a chunk, from which on it is held as bits
_FEW = 4  # ranges in a chunk, down from which it is held as ranges again
_SPARSE = 128  # numbers in a chunk, down from which it is held as a list of them
_RUN = re.compile("1+")

Span = tuple[int, int]


class Sieve:
    """Like `Ranges`, whose ranges take 16 bytes each: where there are many, a chunk of numbers is held as bits.

    An outbox that is thinned for weeks holds every fifth number, or every hundredth; so its memory is bounded by how
    many rows it holds, at two bytes a row.
    """

    def __init__(self) -> None:
        self._ranges = Ranges()  # what is not in a chunk below
        self._chunks: dict[int, int | array[int]] = {}  # bits, or the numbers within the chunk
        self._keys: list[int] = []  # of the chunks, rising
        self._count = 0  # numbers in chunks

    def __len__(self) -> int:
        return len(self._ranges) + self._count

    def __bool__(self) -> bool:
        return bool(self._ranges) or bool(self._keys)

    @property
    def first(self) -> int:
        """The lowest number in it; 0 when empty."""
        lowest = self._ranges.first
        if not self._keys:
            return lowest
        bits = self._bits(self._keys[0])
        in_chunks = self._keys[0] * _CHUNK + (bits & -bits).bit_length() - 1
        return min(lowest, in_chunks) if lowest else in_chunks

    def add(self, low: int, high: int) -> None:
        """Add ``low … high``."""
        at = low
        for key in self._between(low, high):
            begin, end = max(low, key * _CHUNK), min(high, (key + 1) * _CHUNK - 1)
            if at < begin:
                self._ranges.add(at, begin - 1)
            self._store(key, self._bits(key) | _ones(key, begin, end))
            at = end + 1
        if at <= high:
            self._ranges.add(at, high)

    def take(self, low: int, high: int) -> list[Span]:
        """Remove ``low … high``; return what of it was there, as rising ranges."""
        taken = self._ranges.take(low, high)
        from_chunks: list[Span] = []
        for key in self._between(low, high):
            bits = self._bits(key)
            gone = bits & _ones(key, max(low, key * _CHUNK), min(high, (key + 1) * _CHUNK - 1))
            if gone:
                from_chunks += _runs(key, gone)
                self._store(key, bits ^ gone)
        if taken:
            self._consider(taken[0][0] // _CHUNK)
            self._consider(taken[-1][1] // _CHUNK)
        return _merged(taken, from_chunks)

    def discard(self, spans: Iterable[Span]) -> None:
        """Remove very many ranges; the work is done once for each chunk."""
        gone: dict[int, int] = {}
        for low, high in spans:
            key = low // _CHUNK
            if key in self._chunks and high // _CHUNK == key:
                gone[key] = gone.get(key, 0) | _ones(key, low, high)
            else:
                self.take(low, high)
        for key, bits in gone.items():
            if key in self._chunks:
                self._store(key, self._bits(key) & ~bits)
            else:  # by now there are few ranges in it
                for span in _runs(key, bits):
                    self._ranges.take(*span)

    def overlap(self, low: int, high: int) -> list[Span]:
        """What of ``low … high`` is in it, as rising ranges."""
        found: list[Span] = []
        for key in self._between(low, high):
            found += _runs(key, self._bits(key) & _ones(key, max(low, key * _CHUNK), min(high, (key + 1) * _CHUNK - 1)))
        return _merged(self._ranges.overlap(low, high), found)

    def holes(self, low: int, high: int) -> list[Span]:
        """What of ``low … high`` is not in it, as rising ranges."""
        return between(self.overlap(low, high), low, high)

    # ---- chunks

    def _between(self, low: int, high: int) -> list[int]:
        if not self._keys or low // _CHUNK > self._keys[-1]:  # the ordinary case: the next in line
            return []
        return self._keys[bisect_left(self._keys, low // _CHUNK) : bisect_right(self._keys, high // _CHUNK)]

    def _bits(self, key: int) -> int:
        held = self._chunks.get(key, 0)
        return held if isinstance(held, int) else sum(1 << one for one in held)

    def _size(self, key: int) -> int:
        held = self._chunks.get(key, 0)
        return held.bit_count() if isinstance(held, int) else len(held)

    def _store(self, key: int, bits: int) -> None:
        """Hold these of a chunk, in the form that suits."""
        self._count += bits.bit_count() - self._size(key)
        runs = (bits & ~(bits << 1)).bit_count()
        if runs > _FEW:
            if key not in self._chunks:
                insort(self._keys, key)
            is_sparse = bits.bit_count() <= _SPARSE
            self._chunks[key] = array("H", (begin - key * _CHUNK for begin in _each(key, bits))) if is_sparse else bits
            return
        if self._chunks.pop(key, None) is not None:
            del self._keys[bisect_left(self._keys, key)]
        self._count -= bits.bit_count()
        for low, high in _runs(key, bits):
            self._ranges.add(low, high)

    def _consider(self, key: int) -> None:
        """Hold a chunk as bits when it has become full of holes."""
        low, high = key * _CHUNK, (key + 1) * _CHUNK - 1
        if key in self._chunks or len(self._ranges.overlap(low, high)) <= _MANY:
            return
        bits = 0
        for begin, end in self._ranges.take(low, high):
            bits |= _ones(key, begin, end)
        self._store(key, bits)


def _ones(key: int, low: int, high: int) -> int:
    return ((1 << (high - low + 1)) - 1) << (low - key * _CHUNK)


def _runs(key: int, bits: int) -> list[Span]:
    """Bits of a chunk as ranges."""
    if not bits:
        return []
    base = key * _CHUNK
    return [(base + one.start(), base + one.end() - 1) for one in _RUN.finditer(f"{bits:b}"[::-1])]


def _each(key: int, bits: int) -> Iterable[int]:
    return (number for low, high in _runs(key, bits) for number in range(low, high + 1))


def _merged(one: list[Span], other: list[Span]) -> list[Span]:
    """Ranges of both, which have none in common, rising; neighbours become one."""
    if not other:
        return one
    found: list[Span] = []
    for low, high in sorted(one + other):
        if found and found[-1][1] + 1 == low:
            found[-1] = (found[-1][0], high)
        else:
            found.append((low, high))
    return found
