"""The outbox's SQLite file: its schema, its settings, whether it is sound, and a new one from a damaged one."""

from __future__ import annotations

import errno
import fcntl
import logging
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, Literal

from edge_sdk.base.durable import sync_directory
from edge_sdk.base.errors import OutboxError, OutboxFullError
from edge_sdk.base.ids import new_epoch
from edge_sdk.contract.envelope import OutboxRow
from edge_sdk.outbox.identity import RESERVE, Identity, read_identity, write_identity
from edge_sdk.outbox.meta import SET, epochs_value, read_meta
from edge_sdk.outbox.room import PAGE_BYTES
from edge_sdk.outbox.salvage import Salvage, checksum, log_is_damaged, salvage

log = logging.getLogger(__name__)

SCHEMA_VERSION = 3

_WAL_PAGES = 256  # 1 MiB: the log stays small, so that a full disk is met early and the file's size is bounded
_CHECKED_BYTES = 256 * 1024 * 1024  # reading more than that would delay the start by seconds
_CACHE_KIB = 512  # each connection may keep as much; more pays nothing where rows are written and read in order

_SCHEMA = """
CREATE TABLE results (
    seq         INTEGER PRIMARY KEY,
    stream      TEXT NOT NULL,
    accepted_ns INTEGER NOT NULL,
    body        BLOB NOT NULL,
    crc         INTEGER NOT NULL,
    unsynced    TEXT  -- boot, wall and monotonic time of acceptance, where the clock had not been set
);
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
"""
INSERT = "INSERT INTO results (seq, stream, accepted_ns, body, crc, unsynced) VALUES (?, ?, ?, ?, ?, ?)"
_ONE_MORE = ", (?, ?, ?, ?, ?, ?)"
_ROWS_AT_ONCE = 32

Synchronous = Literal["FULL", "NORMAL"]


def connect(path: Path, synchronous: Synchronous = "FULL") -> sqlite3.Connection:
    """Open the file with the settings that the promise needs. Raises sqlite3.Error."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
    try:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {4 * _WAL_PAGES * PAGE_BYTES}")
        connection.execute("PRAGMA secure_delete = OFF")  # Debian's default rewrites every page that is freed
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def lock(path: Path) -> IO[bytes]:
    """Keep every other process away, until closed: two of them would give out the same numbers.

    Raises:
        OutboxError: Another process has it, or the directory cannot be written.
    """
    try:
        guard = path.with_name(path.name + ".lock").open("ab")
    except OSError as error:
        raise OutboxError(f"Outbox {path} cannot be opened: {error}.") from error
    try:
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        guard.close()
        raise OutboxError(f"Outbox {path} is in use by another process. Stop that, or choose another path.") from error
    return guard


def insert(db: sqlite3.Connection, rows: Sequence[OutboxRow], marks: Sequence[str | None]) -> None:
    """Store rows, many in a statement: after each one Python's other threads may keep this one waiting.

    Raises:
        sqlite3.Error: The medium refuses.
    """
    values = parameters(rows, marks)
    for start in range(0, len(values), _ROWS_AT_ONCE):
        part = values[start : start + _ROWS_AT_ONCE]
        db.execute(INSERT + _ONE_MORE * (len(part) - 1), [value for one in part for value in one])


def parameters(
    rows: Sequence[OutboxRow], marks: Sequence[str | None] = ()
) -> list[tuple[int, str, int, bytes, int, str | None]]:
    """Rows as `INSERT` takes them, each with its mark when its clock was unsynced."""
    return [
        (seq, stream, accepted_ns, body, checksum(seq, stream, accepted_ns, body), mark)
        for (seq, stream, body, accepted_ns), mark in zip(rows, marks or [None] * len(rows), strict=True)
    ]


def prepare(path: Path) -> tuple[Identity, Salvage | None]:
    """See that there is a sound file with an identity; a damaged one is put aside and its rows are saved.

    Returns:
        The identity, and what was saved from a damaged file, if it was one.

    Raises:
        OutboxFullError: The disk is full.
        OutboxError: The file is of a newer software, or the medium refuses.
    """
    try:
        _finish_rebuild(path)
        saved = None
        identity = read_identity(path)
        epochs = _epochs_of(path) if path.exists() else ()
        if path.exists() and not epochs:
            saved = _rebuild(path, identity)
            identity = read_identity(path)
            epochs = _epochs_of(path)
        elif not epochs:
            identity = identity or Identity(((0, new_epoch()),), 0)
            write_identity(path, identity)
            make(path, identity.epochs, newest=identity.reserved)
            sync_directory(path.parent)
            epochs = identity.epochs
        if identity is None or identity.epochs != epochs:
            identity = Identity(epochs, _newest_of(path) + RESERVE)
            write_identity(path, identity)
    except (sqlite3.Error, OSError) as error:
        kind = OutboxFullError if is_full(error) else OutboxError
        raise kind(f"Outbox {path} cannot be opened: {error}.") from error
    return identity, saved


def is_full(error: sqlite3.Error | OSError) -> bool:
    """Whether it is for want of room on the disk."""
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT}
    return isinstance(error, sqlite3.OperationalError) and "full" in str(error)


def make(
    path: Path,
    epochs: Sequence[tuple[int, str]],
    *,
    newest: int,
    rows: Sequence[OutboxRow] = (),
    damaged: int = 0,
) -> None:
    """Make the file. Raises sqlite3.Error."""
    with closing(connect(path)) as db:
        db.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA.split(";")[:-1]:
            db.execute(statement)
        db.executemany(SET, [epochs_value(epochs), ("newest", newest), ("damaged", damaged)])
        db.executemany(INSERT, parameters(rows))
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _epochs_of(path: Path) -> tuple[tuple[int, str], ...]:
    """The epochs in the file; none when the file is damaged."""
    if log_is_damaged(path, PAGE_BYTES):
        return ()
    try:
        with closing(connect(path)) as db:
            [version] = db.execute("PRAGMA user_version").fetchone()
            if version > SCHEMA_VERSION:
                raise OutboxError(
                    f"Outbox {path} has schema version {version}, this software knows {SCHEMA_VERSION}. Update it."
                )
            if path.stat().st_size <= _CHECKED_BYTES and db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                return ()
            if version < SCHEMA_VERSION:
                _migrate(db, version)
            epochs = read_meta(db).epochs
            db.execute("SELECT seq, stream, accepted_ns, body, crc, unsynced FROM results LIMIT 1").fetchone()
            return epochs
    except sqlite3.OperationalError as error:
        if any(word in str(error) for word in ("unable to open", "readonly", "locked", "full")):
            raise
        return ()
    except (sqlite3.DatabaseError, UnicodeDecodeError):  # the latter where SQLite's message quotes damaged bytes
        return ()


def _migrate(db: sqlite3.Connection, version: int) -> None:
    """Bring the schema up to date in one transaction. Raises sqlite3.Error."""
    db.execute("BEGIN IMMEDIATE")
    try:
        columns = [name for _, name, *_ in db.execute("PRAGMA table_info(results)")]
        if version < 2 and columns and "unsynced" not in columns:
            db.execute("ALTER TABLE results ADD COLUMN unsynced TEXT")
        epochs = read_meta(db).epochs
        if epochs:  # else it is damaged, and will be read page by page
            db.execute(SET, epochs_value(epochs))
            db.execute("DELETE FROM meta WHERE key IN ('epoch', 'epoch_check')")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")
    except sqlite3.Error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    log.info("outbox was migrated", extra={"from_version": version, "to_version": SCHEMA_VERSION})


def _newest_of(path: Path) -> int:
    with closing(connect(path)) as db:
        [newest] = db.execute("SELECT max(seq) FROM results").fetchone()
        return max(newest or 0, read_meta(db).newest)


def _rebuild(path: Path, identity: Identity | None) -> Salvage:
    found = salvage(path, PAGE_BYTES)
    rows = [found.rows[seq] for seq in sorted(found.rows)]
    if identity is None:  # nobody knows what these numbers counted: they get new ones
        identity = Identity(((0, new_epoch()),), len(rows) + RESERVE)
        rows = [row._replace(seq=seq) for seq, row in enumerate(rows, start=1)]
    else:
        rows = [row for row in rows if row.seq <= identity.reserved]
    newest = max(identity.reserved, rows[-1].seq if rows else 0)
    aside, done = path.with_name(path.name + ".saving"), path.with_name(path.name + ".saved")
    _remove(aside)
    make(aside, identity.epochs, newest=newest, rows=rows, damaged=found.damaged)
    write_identity(path, Identity(identity.epochs, newest))
    aside.replace(done)
    sync_directory(path.parent)
    _finish_rebuild(path)
    log.error(
        "outbox was damaged",
        extra={"kept_as": f"{path.name}.damaged", "saved_rows": len(rows), "damaged_rows": found.damaged},
    )
    return found


def _finish_rebuild(path: Path) -> None:
    """Put the damaged file aside and the new one in its place; done again after a crash in between."""
    done = path.with_name(path.name + ".saved")
    if not done.exists():
        return
    damaged = path.with_name(path.name + ".damaged")
    for tail in ("-wal", ""):  # the log first: without its file it is nothing
        old = path.with_name(path.name + tail)
        if old.exists():
            old.replace(damaged.with_name(damaged.name + tail))
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    done.replace(path)
    sync_directory(path.parent)


def _remove(path: Path) -> None:
    for tail in ("", "-wal", "-shm"):
        path.with_name(path.name + tail).unlink(missing_ok=True)
