"""Deleting old results from PostgreSQL: whole days at once where that can be, slices otherwise."""

from __future__ import annotations

from edge_sdk.monitor.store.database import Database
from edge_sdk.monitor.store.partitions import Partitions
from edge_sdk.monitor.store.rollup import GROUPED, INTO_MINUTES, SLICE, merge

_MARK = (
    "UPDATE sources SET pruned = greatest(pruned, old.seq), pruned_ns = greatest(pruned_ns, old.t_ns + 1)"
    " FROM (SELECT source, max(seq) AS seq, max(t_ns) AS t_ns FROM {table} GROUP BY source) AS old"
    " WHERE sources.id = old.source"
)
_NOT_ROLLED = "JOIN sources ON sources.id = source WHERE seq > rolled"


def prune_results(db: Database, partitions: Partitions, before_ns: int) -> int:
    """Delete results stored before `before_ns`; what is in no minute yet is rolled into one. Within a transaction."""
    for table in partitions.oldest(before_ns):
        if db.execute(f"SELECT 1 FROM {table} WHERE stored_ns >= ? LIMIT 1", (before_ns,)).fetchone():
            continue  # a backlog came late: it keeps its days
        if pruned := _drop(db, partitions, table):
            return pruned
    return _delete(db, before_ns)


def _drop(db: Database, partitions: Partitions, table: str) -> int:
    db.execute(f"SELECT id FROM sources WHERE id IN (SELECT source FROM {table}) ORDER BY id FOR NO KEY UPDATE")
    db.execute(f"{INTO_MINUTES} {table} {_NOT_ROLLED}{GROUPED}{merge('minutes')}")
    db.execute(_MARK.format(table=table))
    [count] = db.execute(f"SELECT count(*) FROM {table}").fetchone()
    db.execute(f"DROP TABLE {table}")
    partitions.forget()
    return int(count)


def _delete(db: Database, before_ns: int) -> int:
    old = f"SELECT source, seq, t_ns FROM results WHERE stored_ns < ?1 ORDER BY stored_ns LIMIT {SLICE}"
    db.execute(
        f"SELECT id FROM sources WHERE id IN (SELECT source FROM ({old}) AS old) ORDER BY id FOR NO KEY UPDATE",
        (before_ns,),
    )
    [count] = db.execute(
        f"WITH old AS ({old}), gone AS (DELETE FROM results USING old WHERE results.source = old.source"
        "  AND results.seq = old.seq AND results.t_ns = old.t_ns RETURNING results.*),"
        f" rolled_up AS ({INTO_MINUTES} gone {_NOT_ROLLED}{GROUPED}{merge('minutes')}),"
        f" marked AS ({_MARK.format(table='gone')})"
        " SELECT count(*) FROM gone",
        (before_ns,),
    ).fetchone()
    return int(count)
