"""Deleting what is old from the SQLite store: raw results become minutes, minutes become hours."""

from __future__ import annotations

import sqlite3

MINUTE_NS = 60 * 10**9
HOUR_NS = 60 * MINUTE_NS
SLICE = 5000
"""Rows of one transaction: ingest waits no longer than that takes."""

_MERGE = (
    " ON CONFLICT DO UPDATE SET"
    " confidence = CASE WHEN confidence IS NULL THEN excluded.confidence"
    "  WHEN excluded.confidence IS NULL THEN confidence"
    "  ELSE (confidence * count + excluded.confidence * excluded.count) / (count + excluded.count) END,"
    " value = CASE WHEN value IS NULL THEN excluded.value WHEN excluded.value IS NULL THEN value"
    "  ELSE (value * count + excluded.value * excluded.count) / (count + excluded.count) END,"
    " low = min(coalesce(low, excluded.low), coalesce(excluded.low, low)),"
    " high = max(coalesce(high, excluded.high), coalesce(excluded.high, high)),"
    " count = count + excluded.count"
)


def prune_results(db: sqlite3.Connection, before_ns: int) -> int:
    """Roll the oldest results, stored before `before_ns`, into minutes; returns how many. Within a transaction."""
    [last] = db.execute(
        "SELECT max(number) FROM (SELECT rowid AS number, stored_ns FROM results ORDER BY rowid LIMIT ?)"
        " WHERE stored_ns < ?",
        (SLICE, before_ns),
    ).fetchone()
    if last is None:
        return 0
    where = (last, before_ns)
    db.execute(  # only constants are spliced in
        f"INSERT INTO minutes SELECT source, stream, t_ns / {MINUTE_NS} * {MINUTE_NS}, coalesce(label, ''), count(*),"  # noqa: S608
        " avg(confidence), avg(value), min(value), max(value) FROM results"
        f" WHERE rowid <= ? AND stored_ns < ? GROUP BY 1, 2, 3, 4{_MERGE}",
        where,
    )
    db.execute(
        "UPDATE sources SET pruned = max(pruned, old.seq) FROM"
        " (SELECT source, max(seq) AS seq FROM results WHERE rowid <= ? AND stored_ns < ? GROUP BY source) AS old"
        " WHERE sources.id = old.source",
        where,
    )
    return db.execute("DELETE FROM results WHERE rowid <= ? AND stored_ns < ?", where).rowcount


def prune_minutes(db: sqlite3.Connection, source: int, before_ns: int) -> int:
    """Roll a source's minutes before `before_ns` into hours; returns how many. Within a transaction."""
    before_ns = before_ns // HOUR_NS * HOUR_NS
    where = (source, before_ns)
    db.execute(
        f"INSERT INTO hours SELECT source, stream, t_ns / {HOUR_NS} * {HOUR_NS}, label, sum(count),"  # noqa: S608
        " sum(confidence * count) / sum(count), sum(value * count) / sum(count), min(low), max(high) FROM minutes"
        f" WHERE source = ? AND t_ns < ? GROUP BY 1, 2, 3, 4{_MERGE}",
        where,
    )
    return db.execute("DELETE FROM minutes WHERE source = ? AND t_ns < ?", where).rowcount
