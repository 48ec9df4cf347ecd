"""Roll-ups: raw results become minutes while they are there still; minutes become hours when they are old."""

from __future__ import annotations

import msgspec

from edge_sdk.monitor.store.database import Database

MINUTE_NS = 60 * 10**9
HOUR_NS = 60 * MINUTE_NS
SLICE = 5000
"""Rows of one transaction: ingest waits no longer than that takes."""
ROLL = 1000
"""A source is rolled up when so many results wait for it; a chart reads them raw until then."""

_RANGES = msgspec.json.Decoder(tuple[tuple[int, int], ...])


def merge(table: str) -> str:
    """The end of an INSERT that adds to the aggregates which are there."""
    return (
        " ON CONFLICT (source, stream, t_ns, label) DO UPDATE SET"
        f" confidence = CASE WHEN {table}.confidence IS NULL THEN excluded.confidence"
        f"  WHEN excluded.confidence IS NULL THEN {table}.confidence"
        f"  ELSE ({table}.confidence * {table}.count + excluded.confidence * excluded.count)"
        f"  / ({table}.count + excluded.count) END,"
        f" value = CASE WHEN {table}.value IS NULL THEN excluded.value WHEN excluded.value IS NULL THEN {table}.value"
        f"  ELSE ({table}.value * {table}.count + excluded.value * excluded.count)"
        f"  / ({table}.count + excluded.count) END,"
        f" low = CASE WHEN {table}.low IS NULL OR excluded.low < {table}.low THEN excluded.low ELSE {table}.low END,"
        f" high = CASE WHEN {table}.high IS NULL OR excluded.high > {table}.high THEN excluded.high"
        f"  ELSE {table}.high END,"
        f" count = {table}.count + excluded.count"
    )


INTO_MINUTES = (
    f"INSERT INTO minutes SELECT source, stream, t_ns / {MINUTE_NS} * {MINUTE_NS}, coalesce(label, ''), count(*),"
    " avg(confidence), avg(value), min(value), max(value) FROM"
)
"""Followed by a table of results, a WHERE, `GROUPED` and `merge`."""
GROUPED = " GROUP BY 1, 2, 3, 4"


def roll_source(db: Database, source: int, *, most: int = SLICE, locking: str = "") -> int:
    """Roll one source's results into minutes, up to its first gap; returns how many numbers. Within a transaction.

    Only numbers below the first gap are rolled, each once: `sources.rolled` says how far. What was given up and comes
    after all is merged when it is stored.

    Args:
        db: The database.
        source: The source's id.
        most: At most so many numbers.
        locking: Behind the SELECT that reads how far it is, where several workers write.
    """
    rolled, ranges = db.execute(f"SELECT rolled, ranges FROM sources WHERE id = ?{locking}", (source,)).fetchone()
    upto = min(_first_gap(ranges), rolled + most)
    if upto <= rolled:
        return 0
    db.execute(
        f"{INTO_MINUTES} results WHERE source = ? AND seq > ? AND seq <= ?{GROUPED}{merge('minutes')}",
        (source, rolled, upto),
    )
    db.execute("UPDATE sources SET rolled = ? WHERE id = ?", (upto, source))
    return int(upto - rolled)


def ripe(db: Database, after: int) -> list[int]:
    """Sources above id `after` of which enough results wait to be rolled up, by id."""
    return [
        source
        for source, rolled, ranges in db.execute(
            "SELECT id, rolled, ranges FROM sources WHERE id > ? AND settled IS NULL ORDER BY id", (after,)
        ).fetchall()
        if _first_gap(ranges) - rolled >= ROLL
    ]


def roll_late(db: Database, source: int, seq: int) -> None:
    """Merge one stored result into minutes if its number was passed already. Within a transaction."""
    db.execute(
        f"{INTO_MINUTES} results WHERE source = ? AND seq = ?"
        f" AND seq <= (SELECT rolled FROM sources WHERE id = ?){GROUPED}{merge('minutes')}",
        (source, seq, source),
    )


def prune_minutes(db: Database, source: int, before_ns: int) -> int:
    """Roll a source's minutes before `before_ns` into hours; returns how many. Within a transaction."""
    before_ns = before_ns // HOUR_NS * HOUR_NS
    where = (source, before_ns)
    db.execute(
        f"INSERT INTO hours SELECT source, stream, t_ns / {HOUR_NS} * {HOUR_NS}, label, sum(count),"
        " sum(confidence * count) / sum(count), sum(value * count) / sum(count), min(low), max(high) FROM minutes"
        f" WHERE source = ? AND t_ns < ?{GROUPED}{merge('hours')}",
        where,
    )
    return db.execute("DELETE FROM minutes WHERE source = ? AND t_ns < ?", where).rowcount


def _first_gap(ranges: bytes) -> int:
    """Every number up to this one is stored or given up."""
    found = _RANGES.decode(ranges)
    return found[0][1] if found and found[0][0] == 1 else 0
