"""Column types that are the same thing in SQLite's strict tables and in PostgreSQL."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
REAL: sa.types.TypeEngine[float] = sa.Double().with_variant(sa.REAL(), "sqlite")
FLAG = sa.Boolean().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text()
BLOB = sa.LargeBinary()

STRICT: dict[str, Any] = {"sqlite_strict": True}
BY_KEY: dict[str, Any] = {"sqlite_strict": True, "sqlite_with_rowid": False}
"""In SQLite the rows lie in their key."""


def need(name: str, kind: sa.types.TypeEngine[Any], default: str | None = None) -> sa.Column[Any]:
    """A column that is never null."""
    return sa.Column(name, kind, nullable=False, server_default=None if default is None else sa.text(default))


def may(name: str, kind: sa.types.TypeEngine[Any]) -> sa.Column[Any]:
    """A column that may be null."""
    return sa.Column(name, kind)


def refers(name: str, table: str) -> sa.Column[Any]:
    """A column that holds another table's id."""
    return sa.Column(name, INT, sa.ForeignKey(f"{table}.id"), nullable=False)
