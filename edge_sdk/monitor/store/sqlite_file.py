"""The SQLite file under the store: opened durably, by one writer, at the newest schema."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from edge_sdk.base import plugins
from edge_sdk.base.errors import StoreError
from edge_sdk.monitor.store.database import HEAD

_APPLICATION_ID = 0x45444745  # "EDGE"


class SqliteFile:
    """One writing connection and the lock that keeps a second monitor away."""

    def __init__(self, path: Path, *, versions: Path | None = None) -> None:
        """Open `path`, make it when it is not there, and bring its schema up to date.

        Args:
            path: The file.
            versions: Where revisions beyond our own lie, for tests.

        Raises:
            StoreError: It cannot be opened, is no store of ours, is of a newer version, or is in use.
            MissingExtraError: Its schema is to be made or changed, and Alembic is not installed.
        """
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(path.with_name(path.name + ".lock"))
        except OSError as error:
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"Store {path} cannot be opened: {error}. Check the path and its owner.") from error
        try:
            self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
            self._prepare(versions)
        except sqlite3.Error as error:
            self.close()
            raise StoreError(
                f"Store {path} cannot be opened: {error}. Is it an SQLite file of this monitor?"
            ) from error
        except BaseException:
            self.close()
            raise

    def _prepare(self, versions: Path | None) -> None:
        db = self.connection
        application = db.execute("PRAGMA application_id").fetchone()[0]
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if application not in {0, _APPLICATION_ID} or (
            application == 0 and db.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
        ):
            raise StoreError(f"{self.path} is an SQLite file of another program. Give another path.")
        if version > HEAD:
            raise StoreError(
                f"Store {self.path} has schema version {version}, this monitor knows {HEAD}. Update the monitor."
            )
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA wal_autocheckpoint = 4000")
        db.execute("PRAGMA journal_size_limit = 67108864")
        db.execute("PRAGMA cache_size = -65536")
        if version < HEAD or versions is not None:
            db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            try:
                from edge_sdk.monitor.store.migrations import upgrade_sqlite
            except ModuleNotFoundError as error:
                raise plugins.missing_extra("A store whose schema is to be made", error) from error
            upgrade_sqlite(db, version=version, versions=versions)

    def close(self) -> None:
        """Close the connection, then let go of the lock."""
        connection = getattr(self, "connection", None)
        if connection is not None:
            connection.close()
        os.close(self._lock)


class SqliteReader:
    """A connection that can only read, beside a running monitor or after it; a `Database`."""

    def __init__(self, path: Path) -> None:
        """Open `path`.

        Raises:
            StoreError: There is no store, or it is none of ours.
        """
        if not path.is_file():
            raise StoreError(f"There is no store at {path}. `edge-sdk monitor run --store {path}` makes one.")
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
            self._db.execute("PRAGMA query_only = ON")
            self._db.execute("PRAGMA cache_size = -32768")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.Error as error:
            raise StoreError(f"Store {path} cannot be read: {error}. Is it an SQLite file of this monitor?") from error
        if version != HEAD:
            self._db.close()
            raise StoreError(f"Store {path} has schema version {version}, this reader knows {HEAD}. Use its monitor.")

    def execute(self, sql: str, arguments: Sequence[Any] = (), /) -> sqlite3.Cursor:
        """Run one query.

        Raises:
            StoreError: The file cannot be read.
        """
        try:
            return self._db.execute(sql, arguments)
        except sqlite3.Error as error:
            raise StoreError(f"The store cannot be read: {error}.") from error

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> object:
        """Not for reading."""
        raise StoreError("This connection only reads.")

    def close(self) -> None:
        """Close the connection."""
        self._db.close()


def _lock(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise StoreError(f"{path.with_suffix('')} is in use by another monitor. Stop that one first.") from None
    return handle
