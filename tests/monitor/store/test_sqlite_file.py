"""The SQLite file under the store."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from edge_sdk.base.errors import StoreError
from edge_sdk.monitor.store.reader import StoreReader
from edge_sdk.monitor.store.schema import STEPS
from edge_sdk.monitor.store.sqlite import SqliteStore
from edge_sdk.monitor.store.sqlite_file import SqliteFile


def test_commits_reach_the_medium(tmp_path: Path) -> None:
    file = SqliteFile(tmp_path / "monitor.db")

    assert file.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert file.connection.execute("PRAGMA synchronous").fetchone() == (2,)
    file.close()


def test_a_second_monitor_on_the_same_store_is_refused(tmp_path: Path) -> None:
    first = SqliteStore(tmp_path / "monitor.db")

    with pytest.raises(StoreError, match="in use by another monitor"):
        SqliteStore(tmp_path / "monitor.db")

    first.close()
    SqliteStore(tmp_path / "monitor.db").close()


def test_a_newer_schema_step_is_applied_to_an_old_store(tmp_path: Path) -> None:
    SqliteFile(tmp_path / "monitor.db").close()

    file = SqliteFile(tmp_path / "monitor.db", steps=(*STEPS, "ALTER TABLE stations ADD COLUMN note TEXT"))

    assert file.connection.execute("PRAGMA user_version").fetchone() == (len(STEPS) + 1,)
    assert file.connection.execute("SELECT note FROM stations").fetchall() == []
    file.close()


def test_a_step_that_fails_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    SqliteFile(tmp_path / "monitor.db").close()

    with pytest.raises(StoreError, match="cannot be opened"):
        SqliteFile(tmp_path / "monitor.db", steps=(*STEPS, "CREATE TABLE extra (a INTEGER) STRICT; SELECT nonsense"))

    file = SqliteFile(tmp_path / "monitor.db")
    assert file.connection.execute("PRAGMA user_version").fetchone() == (len(STEPS),)
    assert file.connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'extra'").fetchone() == (0,)
    file.close()


def test_a_store_of_a_newer_monitor_is_refused(tmp_path: Path) -> None:
    SqliteFile(tmp_path / "monitor.db", steps=(*STEPS, "SELECT 1")).close()

    with pytest.raises(StoreError, match="Update the monitor"):
        SqliteStore(tmp_path / "monitor.db")
    with pytest.raises(StoreError, match="schema version"):
        StoreReader(tmp_path / "monitor.db")


def test_a_file_of_another_program_is_refused_untouched(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE mine (a)")
    other.close()
    before = (tmp_path / "other.db").read_bytes()

    with pytest.raises(StoreError, match="another program"):
        SqliteStore(tmp_path / "other.db")

    assert (tmp_path / "other.db").read_bytes() == before


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "monitor.db").write_bytes(b"nothing of the kind" * 100)

    with pytest.raises(StoreError, match="cannot be opened"):
        SqliteStore(tmp_path / "monitor.db")


def test_reading_where_there_is_no_store_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="edge-sdk monitor run"):
        StoreReader(tmp_path / "monitor.db")
    assert not (tmp_path / "monitor.db").exists()
