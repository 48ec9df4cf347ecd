"""Log records as lines, with their fields; for people, or as JSON."""

from __future__ import annotations

import logging
import time
from typing import Any

import msgspec

_ORDINARY = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """What was given as `extra`."""
    return {key: value for key, value in vars(record).items() if key not in _ORDINARY}


class Lines(logging.Formatter):
    """``2026-11-21T02:17:00Z warning relay backs off delay_s=3.2 backlog=12``.

    Args:
        stamped: Begin with time and level; the journal has them as fields.
    """

    def __init__(self, *, stamped: bool = True) -> None:
        super().__init__()
        self._stamped = stamped

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback if there is one."""
        line = record.getMessage() + "".join(f" {key}={value}" for key, value in fields(record).items())
        if self._stamped:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
            line = f"{stamp} {record.levelname.lower()} {line}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record with its fields; a traceback as text."""
        data = {
            "t": record.created,
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
            **fields(record),
        }
        if record.exc_info:
            data["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(data, enc_hook=str).decode()
