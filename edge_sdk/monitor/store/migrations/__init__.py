"""The schema's history: Alembic revisions for SQLite and PostgreSQL, and what applies them. Loaded only when needed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory

HERE = Path(__file__).parent
_LOCK = 0x45444745  # "EDGE": workers that start together bring the schema up to date one after the other


def upgrade_sqlite(connection: sqlite3.Connection, *, version: int, versions: Path | None = None) -> int:
    """Bring a SQLite store to the newest revision, in one transaction; returns the number of that revision.

    Args:
        connection: In autocommit mode; stays open.
        version: Its revision now, as its ``user_version`` says; 0 = an empty file.
        versions: Where more revisions lie.

    Raises:
        sqlite3.Error: A step failed; the store is as it was.
    """
    engine = sa.create_engine("sqlite://", creator=lambda: connection, poolclass=sa.StaticPool)

    @sa.event.listens_for(engine, "begin")
    def begin(opened: sa.Connection) -> None:
        opened.exec_driver_sql("BEGIN IMMEDIATE")

    try:
        with engine.connect() as opened, opened.begin():
            if version and not sa.inspect(opened).has_table("alembic_version"):  # made before there was Alembic
                opened.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
                opened.exec_driver_sql("INSERT INTO alembic_version VALUES (?)", (f"{version:04}",))
            head = _run(opened, versions)
            opened.exec_driver_sql(f"PRAGMA user_version = {head}")
            return head
    except sa.exc.DBAPIError as error:
        if isinstance(error.orig, sqlite3.Error):
            raise error.orig from error
        raise


def upgrade_postgres(connect: Callable[[], Any]) -> int:
    """Bring a PostgreSQL database to the newest revision, in one transaction; returns its number.

    Args:
        connect: Opens a psycopg connection.

    Raises:
        psycopg.Error: A step failed; the database is as it was.
    """
    engine = sa.create_engine("postgresql+psycopg://", creator=connect, poolclass=sa.NullPool)
    try:
        with engine.connect() as opened, opened.begin():
            opened.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            return _run(opened, None)
    except sa.exc.DBAPIError as error:
        if error.orig is not None:
            raise error.orig from error
        raise


def _run(connection: sa.Connection, versions: Path | None) -> int:
    config = Config()
    config.set_main_option("script_location", str(HERE).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    places = [HERE / "versions", *([versions] if versions else [])]
    config.set_main_option("version_locations", "\n".join(str(place).replace("%", "%%") for place in places))
    script = ScriptDirectory.from_config(config)
    head = script.get_current_head()
    environment = EnvironmentContext(config, script, fn=lambda now, context: script._upgrade_revs(head or "head", now))
    with environment:
        environment.configure(connection=connection, transactional_ddl=True, transaction_per_migration=False)
        environment.run_migrations()
    return int(head or 0)
