"""The SQLite file under the store."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from edge_sdk.base.errors import StoreError
from edge_sdk.monitor.store.database import HEAD
from edge_sdk.monitor.store.reader import StoreReader
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


def revision(directory: Path, *statements: str) -> Path:
    """A directory with one revision beyond ours."""
    directory.mkdir()
    lines = [f"    op.execute({statement!r})" for statement in statements]
    head = f"from alembic import op\nrevision = '{HEAD + 1:04}'\ndown_revision = '{HEAD:04}'\ndef upgrade():\n"
    (directory / "more.py").write_text(head + "\n".join(lines))
    return directory


def test_a_newer_revision_is_applied_to_an_old_store(tmp_path: Path) -> None:
    SqliteFile(tmp_path / "monitor.db").close()

    more = revision(tmp_path / "more", "ALTER TABLE stations ADD COLUMN note TEXT")
    file = SqliteFile(tmp_path / "monitor.db", versions=more)

    assert file.connection.execute("PRAGMA user_version").fetchone() == (HEAD + 1,)
    assert file.connection.execute("SELECT note FROM stations").fetchall() == []
    file.close()


def test_a_revision_that_fails_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    SqliteFile(tmp_path / "monitor.db").close()

    more = revision(tmp_path / "more", "CREATE TABLE extra (a INTEGER) STRICT", "SELECT nonsense")
    with pytest.raises(StoreError, match="cannot be opened"):
        SqliteFile(tmp_path / "monitor.db", versions=more)

    file = SqliteFile(tmp_path / "monitor.db")
    assert file.connection.execute("PRAGMA user_version").fetchone() == (HEAD,)
    assert file.connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'extra'").fetchone() == (0,)
    file.close()


def test_a_store_from_before_there_was_alembic_is_brought_up_to_date(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "monitor.db", isolation_level=None)
    old.executescript(Path(__file__).with_name("version_2.sql").read_text())
    old.close()
    SqliteStore(tmp_path / "monitor.db").close()

    with StoreReader(tmp_path / "monitor.db") as reader:
        [gate] = reader.fleet(now_ns=0).stations
        [result] = reader.results()
        chart = reader.chart("north", "gate-1", "activity", start_ns=0, end_ns=2_000_000 * 10**9, points=10)
    assert (gate.station, result.seq) == ("gate-1", 7)
    assert sum(one.count for one in chart.buckets) == 7


def test_a_store_of_a_newer_monitor_is_refused(tmp_path: Path) -> None:
    SqliteFile(tmp_path / "monitor.db", versions=revision(tmp_path / "more", "SELECT 1")).close()

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
