"""The journal: log records with their fields, by journald's native protocol.

The protocol is that of https://systemd.io/JOURNAL_NATIVE_PROTOCOL/.
"""

from __future__ import annotations

import array
import errno
import fcntl
import logging
import os
import re
import socket
import struct
import sys
from collections.abc import Mapping
from pathlib import Path

from edge_sdk.base.log_lines import Lines, fields

SOCKET = Path("/run/systemd/journal/socket")

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG = 7
_NOT_IN_A_NAME = re.compile("[^A-Z0-9_]")
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_TOO_LONG = {errno.EMSGSIZE, errno.ENOBUFS}


def is_journal(descriptor: int, stream: str) -> bool:
    """Whether what is written to `descriptor` goes to the journal.

    Args:
        descriptor: Such as 2, standard error.
        stream: ``JOURNAL_STREAM`` of the environment: device and inode of the journal's own socket.
    """
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return stream == f"{status.st_dev}:{status.st_ino}"


class Journal(logging.Handler):
    """Sends each record with its fields: ``EDGE_SENSOR=light`` is found by ``journalctl EDGE_SENSOR=light``.

    Args:
        path: The journal's socket.
        identifier: What ``journalctl -t`` finds.
    """

    def __init__(self, path: Path = SOCKET, *, identifier: str = "edge-sdk") -> None:
        super().__init__()
        self._path, self._identifier = str(path), identifier
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.setFormatter(Lines(stamped=False))

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record; where the journal does not take it, it is written to standard error."""
        message = self.format(record)
        extra = {f"EDGE_{name}": value for name, value in fields(record).items()}
        data = _encode(
            {
                "MESSAGE": message,
                "PRIORITY": _priority(record.levelno),
                "SYSLOG_IDENTIFIER": self._identifier,
                "LOGGER": record.name,
                "CODE_FILE": record.pathname,
                "CODE_LINE": record.lineno,
                "CODE_FUNC": record.funcName,
                "EDGE_EVENT": record.getMessage(),
                **extra,
            }
        )
        try:
            self._send(data)
        except OSError:
            sys.stderr.write(message + "\n")

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        super().close()

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendto(data, self._path)
        except OSError as error:
            if error.errno not in _TOO_LONG:
                raise
            self._send_file(data)

    def _send_file(self, data: bytes) -> None:
        """Hand over a sealed memory file in place of a datagram."""
        handle = os.memfd_create("journal", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.write(handle, data)
            fcntl.fcntl(handle, fcntl.F_ADD_SEALS, _SEALS)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [handle]))]
            self._socket.sendmsg([b""], rights, 0, self._path)
        finally:
            os.close(handle)


def _priority(level: int) -> int:
    return next((priority for lowest, priority in _PRIORITIES if level >= lowest), _DEBUG)


def _encode(fields: Mapping[str, object]) -> bytes:
    parts = []
    for name, value in fields.items():
        key = _NOT_IN_A_NAME.sub("_", name.upper())[:64].encode("ascii")
        data = str(value).encode("utf-8", "replace")
        if b"\n" in data:
            parts += [key, b"\n", struct.pack("<Q", len(data)), data, b"\n"]
        else:
            parts += [key, b"=", data, b"\n"]
    return b"".join(parts)
