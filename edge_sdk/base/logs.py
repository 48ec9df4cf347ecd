"""Logs: events with fields, one line each; for people, as JSON, or in the journal."""

from __future__ import annotations

import logging
import os
import sys
from collections import deque

from edge_sdk.base.log_lines import JsonLines, Lines

_MINUTE_S = 60.0


def configure(level: str = "info", *, as_json: bool = False) -> None:
    """Send every log record to standard error; or, where that is the journal, to the journal with all its fields."""
    from edge_sdk.base.journal import Journal, is_journal

    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if as_json else Lines())
    if not as_json and is_journal(2, os.environ.get("JOURNAL_STREAM", "")):
        handler = Journal()
    handler.addFilter(Damper())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class Damper(logging.Filter):
    """Lets the same event through a few times a minute; a card does not last long under a loose wire's words.

    What is held back is counted, and told with the next one that goes through, as ``held_back``.

    Args:
        times: How often within a minute.
    """

    def __init__(self, times: int = 10) -> None:
        super().__init__()
        self._times = times
        self._minutes: dict[tuple[str, int, str], list[float]] = {}  # begin, passed, held back

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it goes through."""
        key = (record.name, record.levelno, str(record.msg))
        minute = self._minutes.setdefault(key, [record.created, 0, 0])
        if not 0 <= record.created - minute[0] < _MINUTE_S:
            if minute[2]:
                record.held_back = int(minute[2])
            minute[:] = [record.created, 0, 0]
        if minute[1] < self._times:
            minute[1] += 1
            return True
        minute[2] += 1
        return False


class Tail(logging.Handler):
    """Keeps the last lines in memory, for the report of a crash.

    Attributes:
        lines: The oldest first.
    """

    def __init__(self, length: int = 100) -> None:
        super().__init__()
        self.lines: deque[str] = deque(maxlen=length)
        self.setFormatter(Lines())

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record as a line."""
        self.lines.append(self.format(record))
