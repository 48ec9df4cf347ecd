"""What both databases can do; the SQL of this room is written once, with ``?1`` for an argument."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

HEAD = 5
"""The newest revision of the schema."""


class Rows(Protocol):
    """What a statement gave."""

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""

    def fetchone(self) -> Any:
        """The next row, or None."""

    def fetchall(self) -> list[Any]:
        """All that are left."""


class Database(Protocol):
    """One connection; ``sqlite3.Connection`` is one as it stands.

    Attributes of the dialect are not here: SQL that differs lives with its store.
    """

    def execute(self, sql: str, arguments: Sequence[Any] = ..., /) -> Rows:
        """Run one statement; arguments are ``?1``, ``?2`` … or ``?`` in order."""

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> object:
        """Run it once for each row."""

    def close(self) -> None:
        """Close the connection."""


def is_url(place: object) -> bool:
    """Whether a store is named by URL: then it is PostgreSQL."""
    return isinstance(place, str) and place.startswith(("postgresql://", "postgres://"))
