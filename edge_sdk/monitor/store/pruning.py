"""Deleting what is old, slice by slice; what is left of a raw result is its share of a minute, then of an hour."""

from __future__ import annotations

from collections.abc import Callable

from edge_sdk.monitor.store.base import Limits
from edge_sdk.monitor.store.database import Database
from edge_sdk.monitor.store.refusals import count
from edge_sdk.monitor.store.rollup import SLICE, prune_minutes

_DAY_NS = 86_400 * 10**9


def prune(db: Database, limits: Limits, now_ns: int, prune_results: Callable[[Database, int], int]) -> int:
    """Delete a slice of what is old; returns how many rows. Within a transaction.

    Args:
        db: The database.
        limits: How long things are kept.
        now_ns: The time.
        prune_results: Deletes some results stored before the time it is given, and rolls up what was not yet.
    """

    def before(days: float | None) -> int:
        return -1 if days is None else now_ns - round(days * _DAY_NS)

    pruned = prune_results(db, before(limits.results_days)) if limits.results_days is not None else 0
    if pruned:
        count(db, {"results.rolled_up": pruned})
        return pruned
    minutes_ns = before(limits.minutes_days)
    for (source,) in db.execute("SELECT DISTINCT source FROM minutes WHERE t_ns < ?", (minutes_ns,)).fetchall():
        pruned += prune_minutes(db, source, minutes_ns)
        if pruned > SLICE:
            return pruned
    for (station,) in db.execute("SELECT id FROM stations ORDER BY id").fetchall():
        pruned += db.execute(
            "DELETE FROM health WHERE station = ? AND t_ns < ?", (station, before(limits.health_days))
        ).rowcount
        if pruned > SLICE:
            return pruned
    return (
        pruned
        + db.execute(
            "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE stored_ns < ? LIMIT ?)",
            (before(limits.events_days), SLICE),
        ).rowcount
    )
