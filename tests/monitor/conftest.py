"""What the monitor's tests share: one PostgreSQL server for all of them, with the schema made once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from edge_sdk.monitor.store.postgres import PostgresStore
from tests.databases import RunningPostgres, postgres


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[RunningPostgres]:
    with postgres() as running:
        PostgresStore(running.new_database()).close()
        yield running


@pytest.fixture(scope="session")
def new_database(postgres_server: RunningPostgres) -> Callable[[], str]:
    """Gives the URL of a database that holds an empty store."""
    return lambda: postgres_server.new_database("made_1")
