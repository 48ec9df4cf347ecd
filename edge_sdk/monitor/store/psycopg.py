"""A connection to PostgreSQL, by psycopg 3: made when it is needed, made again when it was lost."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, cast

import psycopg
from psycopg.types.string import StrBinaryDumper, StrDumper

from edge_sdk.base.errors import StoreError
from edge_sdk.monitor.store.database import Rows

_ARGUMENT = re.compile(r"\?(\d*)")


class _Text(StrDumper):
    """PostgreSQL's text holds no NUL; what a station sends may."""

    def dump(self, obj: str) -> Any:
        return super().dump(_without_nul(obj))


class _BinaryText(StrBinaryDumper):
    """The same for COPY."""

    def dump(self, obj: str) -> Any:
        return super().dump(_without_nul(obj))


def _without_nul(text: str) -> str:
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}") if "\0" in text else text


@lru_cache(maxsize=256)
def numbered(sql: str) -> bytes:
    """``?`` and ``?1`` as PostgreSQL writes them, ``$1``."""
    number = 0

    def place(found: re.Match[str]) -> str:
        nonlocal number
        number += 1
        return f"${found[1] or number}"

    return _ARGUMENT.sub(place, sql).encode()


_CONTENT = (psycopg.DataError, psycopg.IntegrityError)  # the fault of what is to be stored


class PostgresConnection:
    """One connection in autocommit mode; a `Database`. Not for several threads at once."""

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        """Name the database; nothing is opened yet.

        Args:
            url: ``postgresql://``; a password belongs into the file that its ``passfile`` names, or ``~/.pgpass``.
            read_only: Refuse to write.
        """
        self.url = url
        self._read_only = read_only
        self._connection: psycopg.Connection[Any] | None = None

    @property
    def where(self) -> str:
        """The URL without a password."""
        return re.sub(r":[^:@/]*@", "@", self.url)

    def execute(self, sql: str, arguments: Sequence[Any] = (), /) -> Rows:
        """Run one statement.

        Raises:
            StoreError: The database cannot be reached, or refuses.
        """
        try:
            cursor = self._raw()
            cursor.execute(numbered(sql), arguments)
            return cast(Rows, cursor)
        except psycopg.Error as error:
            raise self._said(error) from error

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> None:
        """Run one statement for each row, in one go.

        Raises:
            StoreError: As `execute`.
        """
        given = list(rows)
        if not given:
            return
        try:
            self._raw().executemany(numbered(sql), given)
        except psycopg.Error as error:
            raise self._said(error) from error

    def copy(self, sql: str, types: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """``COPY … FROM STDIN (FORMAT BINARY)``.

        Raises:
            StoreError: As `execute`.
        """
        try:
            with self._raw().copy(sql.encode()) as copy:
                copy.set_types(types)
                for row in rows:
                    copy.write_row(row)
        except psycopg.Error as error:
            raise self._said(error) from error

    def rollback(self) -> None:
        """Give up what has begun; a connection that is lost has done so."""
        connection = self._connection
        if connection is None:
            return
        try:
            connection.rollback()
        except psycopg.Error:
            self._drop()

    def close(self) -> None:
        """Close the connection."""
        self._drop()

    def _raw(self) -> psycopg.RawCursor[Any]:
        if self._connection is None or self._connection.broken:
            self._drop()
            self._connection = self._connect()
        return psycopg.RawCursor(self._connection)

    def _connect(self) -> psycopg.Connection[Any]:
        connection = psycopg.connect(self.url, autocommit=True, connect_timeout=10, application_name="edge-monitor")
        connection.adapters.register_dumper(str, _BinaryText)
        connection.adapters.register_dumper(str, _Text)
        # Committed is on the medium, whatever the server's own setting says.
        connection.execute("SET synchronous_commit = on")
        if self._read_only:
            connection.execute("SET default_transaction_read_only = on")
        return connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _said(self, error: psycopg.Error) -> Exception:
        if isinstance(error, _CONTENT):
            return error
        if self._connection is not None and self._connection.broken:
            self._drop()
        what = " ".join(str(error).split())
        return StoreError(f"PostgreSQL at {self.where}: {what}. Is it running, and is there room on its disk?")


def version_of(connection: PostgresConnection) -> int:
    """The revision of the schema there; 0 = there is none."""
    if connection.execute("SELECT to_regclass('alembic_version')").fetchone() == (None,):
        return 0
    found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return int(found[0]) if found else 0


def upgrade(connection: PostgresConnection) -> None:
    """Bring the schema there to the newest revision.

    Raises:
        StoreError: A step failed; the database is as it was.
    """
    from edge_sdk.monitor.store.migrations import upgrade_postgres

    try:
        upgrade_postgres(lambda: psycopg.connect(connection.url, connect_timeout=10))
    except psycopg.Error as error:
        raise StoreError(f"The schema of {connection.where} cannot be made: {error}.") from error
