"""The SQLite file under the store: opened durably, by one writer, at the newest schema."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from edge_sdk.base.errors import StoreError
from edge_sdk.monitor.store.schema import STEPS

_APPLICATION_ID = 0x45444745  # "EDGE"


class SqliteFile:
    """One writing connection and the lock that keeps a second monitor away."""

    def __init__(self, path: Path, *, steps: Sequence[str] = STEPS) -> None:
        """Open `path`, make it when it is not there, and bring its schema up to date.

        Raises:
            StoreError: It cannot be opened, is no store of ours, is of a newer version, or is in use.
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
            self._prepare(steps)
        except sqlite3.Error as error:
            self.close()
            raise StoreError(
                f"Store {path} cannot be opened: {error}. Is it an SQLite file of this monitor?"
            ) from error
        except StoreError:
            self.close()
            raise

    def _prepare(self, steps: Sequence[str]) -> None:
        db = self.connection
        application = db.execute("PRAGMA application_id").fetchone()[0]
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if application not in {0, _APPLICATION_ID} or (
            application == 0 and db.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
        ):
            raise StoreError(f"{self.path} is an SQLite file of another program. Give another path.")
        if version > len(steps):
            raise StoreError(
                f"Store {self.path} has schema version {version}, this monitor knows {len(steps)}. Update the monitor."
            )
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA wal_autocheckpoint = 4000")
        db.execute("PRAGMA journal_size_limit = 67108864")
        db.execute("PRAGMA cache_size = -65536")
        for number, step in enumerate(steps[version:], start=version + 1):
            db.executescript(
                f"BEGIN IMMEDIATE; {step}; PRAGMA user_version = {number}; "
                f"PRAGMA application_id = {_APPLICATION_ID}; COMMIT;"
            )

    def close(self) -> None:
        """Close the connection, then let go of the lock."""
        connection = getattr(self, "connection", None)
        if connection is not None:
            connection.close()
        os.close(self._lock)


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that can only read, beside a running monitor or after it.

    Raises:
        StoreError: There is no store.
    """
    try:
        if not path.is_file():
            raise StoreError(f"There is no store at {path}. `edge-sdk monitor run --store {path}` makes one.")
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA cache_size = -32768")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.Error as error:
        raise StoreError(f"Store {path} cannot be read: {error}. Is it an SQLite file of this monitor?") from error
    if version != len(STEPS):
        connection.close()
        raise StoreError(f"Store {path} has schema version {version}, this reader knows {len(STEPS)}. Use its monitor.")
    return connection


def _lock(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise StoreError(f"{path.with_suffix('')} is in use by another monitor. Stop that one first.") from None
    return handle
