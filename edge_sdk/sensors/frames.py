"""Frames: what arrives in pieces, damaged, from the middle, becomes whole frames and lines. Pure; all is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol


class Parser(Protocol):
    """Bytes in, rows out. Any bytes may come, in pieces of any size: nothing is raised.

    Attributes:
        counters: What was dropped, and why.
    """

    counters: Counter[str]

    def begin(self) -> None:
        """The line was opened (again): what was pending belongs to nothing."""

    def feed(self, data: bytes) -> Sequence[Sequence[float]]:
        """Take what came; give the rows that it completes: a value for each channel, NaN = not measured."""


class FrameSplitter:
    """Finds frames of one size between other bytes; one that is damaged costs no more than itself.

    After a wrong checksum the search goes on at the very next byte, so that a header that was noise hides no frame.

    Args:
        header: How every frame begins.
        size: Bytes of a frame, header included.
        is_sound: Whether a frame's checksum is right.
        counters: Gets ``frames.malformed`` and ``bytes.skipped``.
    """

    def __init__(self, header: bytes, size: int, is_sound: Callable[[bytes], bool], counters: Counter[str]) -> None:
        self._header, self._size, self._is_sound, self._counters = header, size, is_sound, counters
        self._buffer = bytearray()

    @property
    def pending(self) -> int:
        """Bytes that may become a frame."""
        return len(self._buffer)

    def begin(self) -> None:
        """Forget what is pending."""
        self._skip(len(self._buffer))

    def feed(self, data: bytes) -> list[bytes]:
        """Take what came; give the sound frames."""
        self._buffer += data
        frames: list[bytes] = []
        while True:
            self._skip_to_header()
            if len(self._buffer) < self._size:
                return frames
            frame = bytes(self._buffer[: self._size])
            if self._is_sound(frame):
                frames.append(frame)
                del self._buffer[: self._size]
            else:
                self._counters["frames.malformed"] += 1
                self._skip(1)

    def _skip_to_header(self) -> None:
        at = self._buffer.find(self._header)
        if at < 0:  # a header may have begun at the very end
            at = len(self._buffer)
            for kept in range(min(len(self._header) - 1, at), 0, -1):
                if self._buffer.endswith(self._header[:kept]):
                    at -= kept
                    break
        self._skip(at)

    def _skip(self, n: int) -> None:
        if n:
            self._counters["bytes.skipped"] += n
            del self._buffer[:n]


class LineSplitter:
    """Cuts bytes into lines; what is longer than a line can be is dropped up to its end.

    Args:
        counters: Gets ``lines.too_long`` and ``lines.partial``.
        limit: Bytes of the longest line.
        passes_first: Whether what comes before the first line end is passed over (and counted as partial): reading
            may have begun in the middle of a line, and half a number looks like a whole one.
    """

    def __init__(self, counters: Counter[str], *, limit: int = 4096, passes_first: bool = False) -> None:
        self._counters, self._limit, self._passes_first = counters, limit, passes_first
        self._buffer = bytearray()
        self._is_first = passes_first
        self._is_dropping = False

    def begin(self) -> None:
        """Forget what is pending."""
        if self._buffer:
            self._counters["lines.partial"] += 1
        self._buffer.clear()
        self._is_first, self._is_dropping = self._passes_first, False

    def feed(self, data: bytes) -> list[bytes]:
        """Take what came; give the whole lines, without their ends, empty ones left out."""
        self._buffer += data
        *lines, rest = bytes(self._buffer).split(b"\n")
        self._buffer = bytearray(rest)
        whole: list[bytes] = []
        for line in lines:
            if self._is_first or self._is_dropping or len(line) > self._limit:
                too_long = len(line) > self._limit and not self._is_dropping
                if too_long or self._is_first:
                    self._counters["lines.too_long" if too_long else "lines.partial"] += 1
                self._is_first = self._is_dropping = False
            elif stripped := line.strip():
                whole.append(stripped)
        if len(self._buffer) > self._limit:
            if not self._is_dropping:
                self._counters["lines.too_long"] += 1
            self._is_dropping, self._is_first = True, False
            self._buffer.clear()
        return whole
