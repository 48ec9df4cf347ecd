"""Where a store is, turned into the store: a path is SQLite, a ``postgresql://`` URL is PostgreSQL."""

from __future__ import annotations

from pathlib import Path

from edge_sdk.base import plugins
from edge_sdk.monitor.store.base import Store
from edge_sdk.monitor.store.database import Database, is_url
from edge_sdk.monitor.store.sqlite_file import SqliteReader


def open_store(place: Path | str) -> Store:
    """Open a store for writing, make it when it is not there, and bring its schema up to date.

    Raises:
        StoreError: It cannot be used; the message says why.
        MissingExtraError: PostgreSQL needs psycopg.
    """
    if is_url(place):
        try:
            from edge_sdk.monitor.store.postgres import PostgresStore
        except ModuleNotFoundError as error:
            raise plugins.missing_extra("A store in PostgreSQL", error) from error
        return PostgresStore(str(place))
    from edge_sdk.monitor.store.sqlite import SqliteStore

    return SqliteStore(Path(place))


def open_reader(place: Path | str) -> Database:
    """A connection that can only read.

    Raises:
        StoreError: There is no store, or it is none of ours.
        MissingExtraError: PostgreSQL needs psycopg.
    """
    if is_url(place):
        try:
            from edge_sdk.monitor.store import postgres
        except ModuleNotFoundError as error:
            raise plugins.missing_extra("A store in PostgreSQL", error) from error
        return postgres.open_reader(str(place))
    return SqliteReader(Path(place))
