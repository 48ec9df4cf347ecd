"""A log format that shows the fields of an event, for whoever reads the log of a child that failed."""

from __future__ import annotations

import logging

_ORDINARY = set(vars(logging.makeLogRecord({})))


class Wordy(logging.Formatter):
    """``12:00:00 INFO message {'field': value}``."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {name: value for name, value in vars(record).items() if name not in _ORDINARY}
        return f"{self.formatTime(record)} {record.levelname} {record.getMessage()} {fields or ''}"
