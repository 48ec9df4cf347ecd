"""The commands that were seen: none is obeyed twice, not even after a restart."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path

import msgspec

from edge_sdk.base.durable import replace_file

log = logging.getLogger(__name__)

FILE = "commands.json"


class Seen:
    """Ids of commands until they expire, in a file.

    Args:
        file: Where they are kept; damaged or missing = none was seen.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            self._until = msgspec.json.decode(file.read_bytes(), type=dict[str, datetime])
        except (OSError, msgspec.MsgspecError):
            self._until = {}
        self._brief: dict[str, datetime] = {}

    def __contains__(self, command: str) -> bool:
        return command in self._until or command in self._brief

    def add(self, command: str, expires: datetime, *, now: datetime, lasting: bool) -> None:
        """Remember a command before it is obeyed.

        Args:
            command: Its id.
            expires: After that it is void anyway, and forgotten here.
            now: Wall time.
            lasting: Also across a restart; else in memory alone, which wears no card.

        Raises:
            OSError: The disk does not take it.
        """
        self._until = {one: until for one, until in self._until.items() if until > now}
        self._brief = {one: until for one, until in self._brief.items() if until > now}
        if not lasting:
            self._brief[command] = expires
            return
        self._until[command] = expires
        replace_file(self._file, msgspec.json.encode(self._until))
