"""Rows out of a damaged outbox file: read page by page, without SQLite, each row proved by its checksum.

The page and record formats are those of https://www.sqlite.org/fileformat2.html. Rows longer than a page (about
4,000 bytes) are not found here.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edge_sdk.contract.envelope import OutboxRow

_LEAF = 0x0D
_WAL_HEADER_BYTES = 32
_FRAME_HEADER_BYTES = 24
_WAL_MAGIC = 0x377F0682


@dataclass(slots=True)
class Salvage:
    """What was found in a damaged file.

    Attributes:
        rows: Rows whose checksum holds, by number.
        damaged: Rows that were there and are not readable: a lower bound of what was lost.
    """

    rows: dict[int, OutboxRow] = field(default_factory=dict)
    damaged: int = 0


def checksum(seq: int, stream: str, accepted_ns: int, body: bytes) -> int:
    """CRC-32 of a row: SQLite itself would not notice a flipped bit in it."""
    return zlib.crc32(body, zlib.crc32(f"{seq} {accepted_ns} {stream}".encode()))


def is_sound(seq: int, stream: str, body: bytes, accepted_ns: int, crc: object) -> bool:
    """Whether a row that SQLite read is what was put; flipped bits can change the types of columns, too."""
    try:
        return checksum(seq, stream, accepted_ns, body) == crc
    except TypeError:
        return False


def salvage(path: Path, page_bytes: int) -> Salvage:
    """Read what can be read of the file at `path` and of its log ``…-wal``; whatever is in them, it ends.

    Raises:
        OSError: The medium refuses to read.
    """
    found = Salvage()
    broken: set[int] = set()
    data = path.read_bytes() if path.exists() else b""
    for start in range(page_bytes, len(data), page_bytes):  # the first page is the schema's
        _read_page(data[start : start + page_bytes], page_bytes, found, broken)
    wal = path.with_name(path.name + "-wal")
    if wal.exists():
        for page in _pages_of_log(wal.read_bytes(), page_bytes):
            _read_page(page, page_bytes, found, broken)
    found.damaged = len(broken - found.rows.keys())
    return found


def log_is_damaged(path: Path, page_bytes: int) -> bool:
    """Whether the log holds commits behind a damaged frame: SQLite would drop them without a word."""
    wal = path.with_name(path.name + "-wal")
    try:
        data = wal.read_bytes()
    except FileNotFoundError:
        return False
    if len(data) < _WAL_HEADER_BYTES:
        return False
    salts = data[16:24]
    good = _committed_frames(data, page_bytes, strict=True)
    step = _FRAME_HEADER_BYTES + page_bytes
    for number, start in enumerate(range(_WAL_HEADER_BYTES, len(data) - step + 1, step)):
        is_ours = data[start + 8 : start + 16] == salts
        ends_a_commit = data[start + 4 : start + 8] != b"\0\0\0\0"
        if number >= good and is_ours and ends_a_commit:
            return True
    return False


def _pages_of_log(data: bytes, page_bytes: int) -> Iterator[bytes]:
    step = _FRAME_HEADER_BYTES + page_bytes
    for number in range(_committed_frames(data, page_bytes, strict=False)):
        start = _WAL_HEADER_BYTES + number * step + _FRAME_HEADER_BYTES
        yield data[start : start + page_bytes]


def _committed_frames(data: bytes, page_bytes: int, *, strict: bool) -> int:
    """How many frames of the log belong to finished commits; not `strict` = also those behind a damaged one."""
    if len(data) < _WAL_HEADER_BYTES:
        return 0
    big = struct.unpack(">I", data[:4])[0] & 1
    order = ">" if big else "<"
    sums = _sums(data[:24], order, (0, 0))
    if strict and sums != struct.unpack(">II", data[24:32]):
        return 0
    step = _FRAME_HEADER_BYTES + page_bytes
    committed = 0
    for number, start in enumerate(range(_WAL_HEADER_BYTES, len(data) - step + 1, step)):
        if data[start + 8 : start + 16] != data[16:24]:
            break  # left over from before the log began anew
        if strict:
            sums = _sums(data[start : start + 8], order, sums)
            sums = _sums(data[start + _FRAME_HEADER_BYTES : start + step], order, sums)
            if sums != struct.unpack(">II", data[start + 16 : start + 24]):
                break
        if data[start + 4 : start + 8] != b"\0\0\0\0":
            committed = number + 1
    return committed


def _sums(data: bytes, order: str, start: tuple[int, int]) -> tuple[int, int]:
    first, second = start
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for at in range(0, len(words), 2):
        first = (first + words[at] + second) & 0xFFFFFFFF
        second = (second + words[at + 1] + first) & 0xFFFFFFFF
    return first, second


def _read_page(page: bytes, page_bytes: int, found: Salvage, broken: set[int]) -> None:
    if len(page) < page_bytes or page[0] != _LEAF:
        return
    count = int.from_bytes(page[3:5], "big")
    for index in range(min(count, page_bytes // 8)):
        start = int.from_bytes(page[8 + 2 * index : 10 + 2 * index], "big")
        seq = 0
        try:
            length, at = _varint(page, start)
            seq, at = _varint(page, at)
            row = _read_record(page[at : at + length], seq)
        except (IndexError, ValueError, UnicodeDecodeError):
            row = None
        if row is not None:
            found.rows[row.seq] = row
        elif 0 < seq < 1 << 53:
            broken.add(seq)


def _read_record(record: bytes, seq: int) -> OutboxRow | None:
    """A record of (NULL, text, integer, blob, integer[, any]), or None when its checksum does not hold."""
    header, at = _varint(record, 0)
    kinds = []
    while at < header:
        kind, at = _varint(record, at)
        kinds.append(kind)
    if len(kinds) not in (5, 6) or header > len(record):  # 5: written before version 2, which added a column
        return None
    values = []
    for kind in kinds:
        size = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)[kind] if kind < 10 else (kind - 12) // 2
        raw = record[at : at + size]
        if len(raw) != size:
            return None
        values.append({8: 0, 9: 1}[kind] if kind in (8, 9) else int.from_bytes(raw, "big") if kind < 10 else raw)
        at += size
    _, stream, accepted_ns, body, check, *_ = values
    if not (isinstance(stream, bytes) and isinstance(body, bytes) and isinstance(accepted_ns, int)):
        return None
    name = stream.decode("utf-8")
    if checksum(seq, name, accepted_ns, body) != check:
        return None
    return OutboxRow(seq, name, body, accepted_ns)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for count in range(9):
        byte = data[at]
        at += 1
        if count == 8:
            return value << 8 | byte, at
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            break
    return value, at
