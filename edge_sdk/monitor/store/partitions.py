"""The partitions of results: one for each day of event time, made before they are needed."""

from __future__ import annotations

from collections.abc import Iterable

from edge_sdk.base.clock import to_datetime
from edge_sdk.monitor.store.database import Database

DAY_NS = 86_400 * 10**9
AHEAD_DAYS = 7
"""So many days from now on have a partition always."""
BACK_DAYS = 400
"""What is older, or further ahead than `AHEAD_DAYS`, lies in the partition for times that no clock should say."""

_LOCK = 0x45444746


class Partitions:
    """Knows which days have a partition, and makes those that are missing.

    With TimescaleDB there is nothing to make: it makes chunks itself; the old ones are known by name all the same.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._is_native = (
            db.execute("SELECT 1 FROM pg_partitioned_table WHERE partrelid = 'results'::regclass").fetchone()
            is not None
        )
        self._has_chunks = db.execute("SELECT to_regclass('timescaledb_information.chunks')").fetchone() != (None,)
        self._days: set[int] = set()
        self._ahead_until = -1

    def missing(self, times_ns: Iterable[int], *, now_ns: int) -> list[int]:
        """Days that lack a partition, of results of these event times and of the days ahead."""
        if not self._is_native:
            return []
        today = now_ns // DAY_NS
        wanted = {time_ns // DAY_NS for time_ns in times_ns}
        if today + AHEAD_DAYS > self._ahead_until:
            wanted.update(range(today - 1, today + AHEAD_DAYS + 1))
        self._ahead_until = max(self._ahead_until, today + AHEAD_DAYS)
        return sorted(day for day in wanted - self._days if today - BACK_DAYS <= day <= today + AHEAD_DAYS)

    def oldest(self, before_ns: int) -> list[str]:
        """Tables of days that end before a time, the oldest first."""
        if self._has_chunks and not self._is_native:
            rows = self._db.execute(
                "SELECT format('%I.%I', chunk_schema, chunk_name) FROM timescaledb_information.chunks"
                " WHERE hypertable_schema = current_schema() AND hypertable_name = 'results'"
                " AND range_end_integer <= ? ORDER BY range_end_integer",
                (before_ns // DAY_NS * DAY_NS,),
            ).fetchall()
            return [row[0] for row in rows]
        if not self._is_native:
            return []
        rows = self._db.execute(
            "SELECT relname FROM pg_class JOIN pg_inherits ON inhrelid = oid"
            " WHERE inhparent = 'results'::regclass AND relname < ? AND relname > 'results_0' AND relname < 'results_9'"
            " ORDER BY relname",
            (name_of(before_ns // DAY_NS),),
        ).fetchall()
        return [row[0] for row in rows]

    def forget(self) -> None:
        """Look anew: a partition was dropped, or making one failed."""
        self._days.clear()
        self._ahead_until = -1

    def make(self, days: list[int]) -> None:
        """Make the partitions of these days. Within a transaction of its own."""
        db = self._db
        db.execute("SELECT pg_advisory_xact_lock(?)", (_LOCK,))
        for day in days:
            name, low, high = name_of(day), day * DAY_NS, (day + 1) * DAY_NS
            if db.execute("SELECT to_regclass(?)", (name,)).fetchone() != (None,):
                continue
            # Rows of that day may lie among the rest: from before the day had a partition.
            db.execute(f"CREATE TABLE {name} (LIKE results INCLUDING DEFAULTS)")
            db.execute(
                f"WITH gone AS (DELETE FROM results_else WHERE t_ns >= {low} AND t_ns < {high} RETURNING *)"
                f" INSERT INTO {name} SELECT * FROM gone"
            )
            db.execute(f"ALTER TABLE results ATTACH PARTITION {name} FOR VALUES FROM ({low}) TO ({high})")
        self._days.update(days)


def name_of(day: int) -> str:
    """The table of a day, counted from the Unix epoch: ``results_20261121``."""
    return f"results_{to_datetime(day * DAY_NS):%Y%m%d}"
