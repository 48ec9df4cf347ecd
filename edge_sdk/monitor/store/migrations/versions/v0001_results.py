"""Stations, their outboxes, their results, and what they said of themselves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from edge_sdk.monitor.store.migrations.types import BLOB, BY_KEY, FLAG, INT, REAL, STRICT, TEXT, may, need, refers

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "stations",
        sa.Column("id", INT, primary_key=True, autoincrement=True),
        need("site", TEXT),
        need("station", TEXT),
        need("rev", INT, "0"),  # number of the commit that last changed the row
        need("last_seen_ns", INT),
        need("epoch", TEXT, "''"),  # of the outbox that it uses now
        need("state", TEXT, "'unknown'"),
        need("state_ns", INT, "0"),
        need("version", TEXT, "''"),
        need("board", TEXT, "''"),
        need("backends", TEXT, "''"),  # really in use, said by birth
        need("fallback", TEXT, "''"),
        may("latitude", REAL),
        may("longitude", REAL),
        may("backlog", INT),  # results that wait in its outbox, said by health
        may("temperature_c", REAL),
        may("birth", BLOB),
        may("health", BLOB),
        sa.UniqueConstraint("site", "station"),
        **STRICT,
    )
    op.create_table(
        "sources",
        sa.Column("id", INT, primary_key=True, autoincrement=True),
        refers("station", "stations"),
        need("epoch", TEXT),
        need("stored", INT, "0"),  # results ever stored
        need("ranges", BLOB, "x'5b5d'" if _is_sqlite() else "'[]'::bytea"),  # what its receipt says, JSON
        sa.UniqueConstraint("station", "epoch"),
        **STRICT,
    )
    _results()
    op.create_table(
        "latest",
        refers("station", "stations"),
        need("stream", TEXT),
        need("source", INT),
        need("seq", INT),
        need("t_ns", INT),
        may("label", TEXT),
        may("confidence", REAL),
        may("value", REAL),
        may("unit", TEXT),
        need("degraded", FLAG),
        sa.PrimaryKeyConstraint("station", "stream"),
        **BY_KEY,
    )
    op.create_table(
        "health",
        refers("station", "stations"),
        need("t_ns", INT),
        need("backlog", INT),
        need("outbox_bytes", INT),
        may("temperature_c", REAL),
        may("rss_bytes", INT),
        sa.PrimaryKeyConstraint("station", "t_ns"),
        **BY_KEY,
    )
    op.create_table(
        "events",
        sa.Column("id", INT, primary_key=True, autoincrement=True),
        refers("station", "stations"),
        need("severity", TEXT),
        need("t_ns", INT),
        need("stored_ns", INT),
        need("name", TEXT),
        need("message", TEXT),
        need("detail", BLOB),
        *([sa.UniqueConstraint("station", "t_ns", "severity", "name", "message")] if _is_sqlite() else []),
        **STRICT,
    )
    if not _is_sqlite():  # an index entry there has room for 2,700 bytes
        op.execute("CREATE UNIQUE INDEX events_once ON events (station, t_ns, severity, md5(name), md5(message))")
    op.create_table(
        "quarantine",
        sa.Column("id", INT, primary_key=True, autoincrement=True),
        need("reason", TEXT),
        need("topic", TEXT),
        need("count", INT),
        need("first_ns", INT),
        need("last_ns", INT),
        need("head", BLOB),  # first bytes of the last payload
        need("message", TEXT),
        sa.UniqueConstraint("reason", "topic"),
        **STRICT,
    )
    op.create_index("quarantine_in_time", "quarantine", ["last_ns"])
    op.create_table("counters", sa.Column("name", TEXT, primary_key=True), need("count", INT), **BY_KEY)


def _results() -> None:
    columns = (
        refers("source", "sources") if _is_sqlite() else need("source", INT),  # a look-up for each row there
        need("stored_ns", INT),
        need("seq", INT),
        need("stream", TEXT),
        need("t_ns", INT),
        need("observed_ns", INT),
        may("label", TEXT),
        may("confidence", REAL),
        may("value", REAL),
        may("unit", TEXT),
        need("degraded", FLAG),
        need("backlog", FLAG),
        need("body", BLOB),
    )
    if _is_sqlite():
        # Rows lie in the order they came, and the key is an index beside them: with 8,000 stations that halves the
        # pages that a commit writes, and what retention deletes lies together.
        op.create_table("results", *columns, sa.UniqueConstraint("source", "seq"), **STRICT)
        # Covers the charts: they never touch the bodies.
        op.create_index(
            "results_in_time", "results", ["source", "stream", "t_ns", "label", "confidence", "value", "seq"]
        )
        return
    # The key must hold the time, or there are no partitions; that a number is given once is checked by the ranges.
    key = sa.PrimaryKeyConstraint("source", "seq", "t_ns")
    if op.get_bind().scalar(sa.text("SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'")):
        op.create_table("results", *columns, key)
        op.execute("SELECT create_hypertable('results', 't_ns', chunk_time_interval => 86400000000000::bigint)")
    else:
        op.create_table("results", *columns, key, postgresql_partition_by="RANGE (t_ns)")
        op.execute("CREATE TABLE results_else PARTITION OF results DEFAULT")  # times that no clock should say
    op.create_index(
        "results_in_time",
        "results",
        ["source", "stream", "t_ns"],
        postgresql_include=["label", "confidence", "value", "seq"],
    )
    op.create_index("results_as_stored", "results", ["stored_ns"], postgresql_using="brin")


def _is_sqlite() -> bool:
    return op.get_context().dialect.name == "sqlite"
