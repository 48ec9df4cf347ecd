"""A socket that is read in large pieces: a client that asks for a byte, then two, then ten, costs one system call."""

from __future__ import annotations

import socket

from edge_sdk.mqtt.packet import pubacks

_PIECE_BYTES = 64 * 1024


class BufferedSocket:
    """Stands in for a plain or TLS socket that does not block; `pending` says what `select` cannot see."""

    def __init__(self, inner: socket.socket) -> None:
        self._inner = inner
        self._read = b""
        self._at = 0

    def recv(self, size: int) -> bytes:
        """At most `size` bytes; as the socket's own, with its errors."""
        if self._at == len(self._read):
            piece = self._inner.recv(max(size, _PIECE_BYTES))
            if len(piece) <= size:
                return piece
            self._read, self._at = piece, 0
        given = self._read[self._at : self._at + size]
        self._at += len(given)
        return given

    def take_pubacks(self) -> list[tuple[int, int]]:
        """Whole PUBACKs that are next among the bytes read, see `pubacks`; to be asked for between two packets."""
        found, self._at = pubacks(self._read, self._at)
        return found

    def pending(self) -> int:
        """Bytes that were read and not asked for yet."""
        below = getattr(self._inner, "pending", None)
        return len(self._read) - self._at + (below() if below else 0)

    def send(self, data: bytes) -> int:
        """As the socket's own."""
        return self._inner.send(data)

    def fileno(self) -> int:
        """For `select`."""
        return self._inner.fileno()

    def setblocking(self, flag: bool) -> None:
        """As the socket's own."""
        self._inner.setblocking(flag)

    def setsockopt(self, level: int, option: int, value: int) -> None:
        """As the socket's own."""
        self._inner.setsockopt(level, option, value)

    def shutdown(self, how: int) -> None:
        """As the socket's own."""
        self._inner.shutdown(how)

    def close(self) -> None:
        """As the socket's own."""
        self._inner.close()
