"""One stream over time, down-sampled in SQL: minutes where buckets are as wide as that, raw results otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edge_sdk.monitor.store.rollup import HOUR_NS, MINUTE_NS
from edge_sdk.monitor.store.views import Bucket

Ask = Callable[[str, Sequence[Any]], list[Any]]
"""Runs a query and gives all of its rows."""

# ?1 source, ?2 stream, ?3 first, ?4 end, ?5 width; every arm gives: slot, label, count, confidence, value, low, high.
_TIMES = "t_ns >= ?3 AND t_ns < ?4"
_RAW = (
    "SELECT (t_ns - ?3) / ?5 AS slot, label, count(*), avg(confidence), avg(value), min(value), max(value)"
    " FROM results{by_time} WHERE source = ?1 AND stream = ?2 AND {times} GROUP BY 1, 2"
)
_NEW = (
    "SELECT (t_ns - ?3) / ?5 AS slot, label, count(*), avg(confidence), avg(value), min(value), max(value)"
    " FROM results WHERE source = ?1 AND seq > (SELECT rolled FROM sources WHERE id = ?1)"
    " AND {plain_stream} = ?2 AND {plain_time} >= ?3 AND {plain_time} < ?4 GROUP BY 1, 2"
)
_MINUTES = (
    "SELECT (t_ns - ?3) / ?5 AS slot, nullif(label, ''), sum(count), sum(confidence * count) / sum(count),"
    " sum(value * count) / sum(count), min(low), max(high) FROM minutes"
    " WHERE source = ?1 AND stream = ?2 AND {times} GROUP BY 1, 2"
)
_HOURS = (
    "SELECT CASE WHEN t_ns < ?3 THEN 0 ELSE (t_ns - ?3) / ?5 END AS slot, nullif(label, ''), sum(count),"
    " sum(confidence * count) / sum(count), sum(value * count) / sum(count), min(low), max(high) FROM hours"
    f" WHERE source = ?1 AND stream = ?2 AND t_ns > ?3 - {HOUR_NS} AND t_ns < ?4 GROUP BY 1, 2"
)


@dataclass(frozen=True, slots=True)
class Dialect:
    """What is written otherwise in the two databases.

    Attributes:
        by_time: Behind a table of results: use the index over time.
        plain_stream: The stream, in a way that finds no rows by it: few are new, and their numbers find them.
        plain_time: The same of the time.
    """

    by_time: str
    plain_stream: str
    plain_time: str


SQLITE = Dialect(" INDEXED BY results_in_time", plain_stream="+stream", plain_time="+t_ns")
POSTGRES = Dialect("", plain_stream="stream || ''", plain_time="t_ns + 0")


@dataclass(frozen=True, slots=True)
class Grid:
    """Where buckets begin and how wide they are.

    Attributes:
        first_ns: Where the first begins.
        end_ns: Where the range ends.
        width_ns: Of a bucket.
    """

    first_ns: int
    end_ns: int
    width_ns: int

    @property
    def is_coarse(self) -> bool:
        """Whether buckets are whole minutes."""
        return self.width_ns >= MINUTE_NS


def grid(start_ns: int, end_ns: int, points: int) -> Grid:
    """At most `points` buckets over ``[start_ns, end_ns)``; wide ones begin and end with whole minutes."""
    width = max(1, -(-(end_ns - start_ns) // points))
    if width < MINUTE_NS:
        return Grid(start_ns, end_ns, width)
    first = start_ns // MINUTE_NS * MINUTE_NS
    return Grid(first, end_ns, -(-(end_ns - first) // points // MINUTE_NS) * MINUTE_NS)


def buckets(ask: Ask, dialect: Dialect, sources: Sequence[tuple[int, int]], stream: str, on: Grid) -> list[Bucket]:
    """The buckets that hold results, in order of time.

    Args:
        ask: Runs a query.
        dialect: Of the database.
        sources: Ids, each with the event time up to which raw results may be missing.
        stream: The stream.
        on: The grid.
    """
    found: dict[int, list[Any]] = {}
    for source, pruned_ns in sources:
        for row in _of_source(ask, dialect, source, pruned_ns, stream, on):
            found.setdefault(row[0], []).append(row[1:])
    return [_bucket(on.first_ns + slot * on.width_ns, found[slot]) for slot in sorted(found)]


def label_counts(
    ask: Ask, dialect: Dialect, sources: Sequence[tuple[int, int]], stream: str, on: Grid
) -> dict[str, int]:
    """How often each label was fused; an empty label is no answer."""
    counts: dict[str, int] = {}
    for source, pruned_ns in sources:
        for row in _of_source(ask, dialect, source, pruned_ns, stream, on):
            counts[row[1] or ""] = counts.get(row[1] or "", 0) + int(row[2])
    return counts


def _of_source(ask: Ask, dialect: Dialect, source: int, pruned_ns: int, stream: str, on: Grid) -> list[Any]:
    if on.is_coarse:
        return _asked(ask, dialect, (_MINUTES, _HOURS, _NEW), (source, stream, on.first_ns, on.end_ns, on.width_ns))
    if pruned_ns <= on.first_ns:
        return _asked(ask, dialect, (_RAW,), (source, stream, on.first_ns, on.end_ns, on.width_ns))
    # Slots count from the same first bucket in both parts.
    edge = min(pruned_ns, on.end_ns)
    edge = min(on.end_ns, on.first_ns + -(-(edge - on.first_ns) // on.width_ns) * on.width_ns)
    rows = _asked(ask, dialect, (_MINUTES, _HOURS, _NEW), (source, stream, on.first_ns, edge, on.width_ns))
    past = (edge - on.first_ns) // on.width_ns
    for row in (
        _asked(ask, dialect, (_RAW,), (source, stream, edge, on.end_ns, on.width_ns)) if edge < on.end_ns else ()
    ):
        rows.append((row[0] + past, *row[1:]))
    return rows


def _asked(ask: Ask, dialect: Dialect, arms: Sequence[str], arguments: Sequence[Any]) -> list[Any]:
    sql = " UNION ALL ".join(arms).format(
        by_time=dialect.by_time,
        times=_TIMES,
        plain_stream=dialect.plain_stream,
        plain_time=dialect.plain_time,
    )
    return ask(sql, arguments)


def _bucket(t_ns: int, rows: list[Any]) -> Bucket:
    counts: dict[str | None, int] = {}
    for row in rows:
        counts[row[0]] = counts.get(row[0], 0) + int(row[1])
    label = max(counts, key=lambda name: counts[name])
    total = sum(counts.values())
    values = [row for row in rows if row[3] is not None]
    return Bucket(
        t_ns=t_ns,
        count=total,
        label=label,
        share=counts[label] / total,
        confidence=_mean([(row[2], row[1]) for row in rows if row[0] == label and row[2] is not None]),
        value=_mean([(row[3], row[1]) for row in values]),
        low=min((row[4] for row in values), default=None),
        high=max((row[5] for row in values), default=None),
    )


def _mean(parts: list[tuple[float, int]]) -> float | None:
    weight = sum(int(count) for _, count in parts)
    return sum(float(mean) * int(count) for mean, count in parts) / weight if weight else None


# ?1 source, ?2 stream, ?3 first, ?4 end, ?5 how many: each stretch, and the time of the last result in it.
LAST_OF_STRETCHES = (
    "WITH RECURSIVE stretch(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM stretch WHERE n + 1 < ?5)"
    " SELECT n, (SELECT t_ns FROM results{by_time} WHERE source = ?1 AND stream = ?2"
    "  AND t_ns >= ?3 + (?4 - ?3) / ?5 * n"
    "  AND t_ns < CASE WHEN n + 1 = ?5 THEN ?4 ELSE ?3 + (?4 - ?3) / ?5 * (n + 1) END"
    "  ORDER BY t_ns DESC LIMIT 1)"
    " FROM stretch"
)

# ?1 station, ?2 first, ?3 end, ?4 how many: what models were given, as the last health message of each stretch says.
LAST_INPUTS = (
    "WITH RECURSIVE stretch(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM stretch WHERE n + 1 < ?4)"
    " SELECT (SELECT inputs FROM health WHERE station = ?1 AND inputs IS NOT NULL"
    "  AND t_ns >= ?2 + (?3 - ?2) / ?4 * n"
    "  AND t_ns < CASE WHEN n + 1 = ?4 THEN ?3 ELSE ?2 + (?3 - ?2) / ?4 * (n + 1) END"
    "  ORDER BY t_ns DESC LIMIT 1)"
    " FROM stretch"
)
