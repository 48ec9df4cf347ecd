"""Whole results as they are stored: all of a time, the newest, or one of each stretch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from edge_sdk.monitor.store.chart import LAST_OF_STRETCHES, Ask, Dialect
from edge_sdk.monitor.store.views import StoredResult

_LATEST_NS = (1 << 63) - 1
_AT_ONCE = 10_000
_RESULT = (
    "SELECT stations.site, stations.station, sources.epoch, seq, t_ns, observed_ns, stored_ns, results.backlog, body"
    " FROM results JOIN sources ON sources.id = results.source JOIN stations ON stations.id = sources.station"
)


def in_order(
    ask: Ask,
    dialect: Dialect,
    sources: Sequence[int],
    stream: str | None,
    since_ns: int | None,
    until_ns: int | None,
) -> Iterator[StoredResult]:
    """Results in ``[since_ns, until_ns)``, one source after the other, each in the order of its numbers."""
    for source in sources:
        after, last = _span(ask, dialect, source, stream, since_ns, until_ns)
        while after < last:
            found = ask(
                f"{_RESULT} WHERE source = ?1 AND seq > ?2 AND seq <= ?6"
                " AND (CAST(?3 AS TEXT) IS NULL OR stream = ?3)"
                " AND (CAST(?4 AS BIGINT) IS NULL OR t_ns >= ?4) AND (CAST(?5 AS BIGINT) IS NULL OR t_ns < ?5)"
                f" ORDER BY seq LIMIT {_AT_ONCE}",
                (source, after, stream, since_ns, until_ns, last),
            )
            yield from map(_result, found)
            after = found[-1][3] if len(found) == _AT_ONCE else last


def newest(
    ask: Ask, sources: Sequence[int], stream: str | None, since_ns: int | None, until_ns: int | None, limit: int
) -> list[StoredResult]:
    """The newest `limit` results in ``[since_ns, until_ns)`` by event time, the newest first."""
    found: list[StoredResult] = []
    # By time where the index over time serves, by number otherwise; "+ 0" keeps the other index out of it.
    order = "t_ns DESC, seq + 0 DESC" if stream else "seq DESC"
    for source in sources:
        rows = ask(
            f"{_RESULT} WHERE source = ?1 AND {'stream = ?2' if stream else 'CAST(?2 AS TEXT) IS NULL'}"
            " AND t_ns >= ?3 AND t_ns < ?4"
            f" ORDER BY {order} LIMIT ?5",
            (source, stream, since_ns or 0, _LATEST_NS if until_ns is None else until_ns, limit),
        )
        found.extend(map(_result, rows))
    found.sort(key=lambda one: one.t_ns, reverse=True)
    return found[:limit]


def last_of_stretches(
    ask: Ask, dialect: Dialect, sources: Sequence[int], stream: str, start_ns: int, end_ns: int, stretches: int
) -> list[StoredResult]:
    """The last result of each of so many stretches, in order of time: looks into the index, no scan."""
    ask_times = LAST_OF_STRETCHES.format(by_time=dialect.by_time)
    last: dict[int, tuple[int, int]] = {}
    for source in sources:
        for stretch, t_ns in ask(ask_times, (source, stream, start_ns, end_ns, stretches)):
            if t_ns is not None:
                last[stretch] = max(last.get(stretch, (t_ns, source)), (t_ns, source))
    found: list[StoredResult] = []
    for t_ns, source in sorted(last.values()):
        rows = ask(
            f"{_RESULT} WHERE source = ?1 AND stream = ?2 AND t_ns = ?3 ORDER BY seq + 0 DESC LIMIT 1",
            (source, stream, t_ns),
        )
        found.extend(map(_result, rows))
    return found


def _span(
    ask: Ask, dialect: Dialect, source: int, stream: str | None, since_ns: int | None, until_ns: int | None
) -> tuple[int, int]:
    """Numbers between which a source's results of that time lie: above the first, up to the second."""
    if since_ns is None and until_ns is None:
        return 0, _LATEST_NS
    streams = ask(
        "SELECT stream FROM latest JOIN sources ON sources.station = latest.station"
        " WHERE sources.id = ?1 AND (CAST(?2 AS TEXT) IS NULL OR stream = ?2)",
        (source, stream),
    )
    low, high = _LATEST_NS, 0
    for (name,) in streams:
        [(first, last)] = ask(
            f"SELECT min(seq), max(seq) FROM results{dialect.by_time}"
            " WHERE source = ?1 AND stream = ?2 AND t_ns >= ?3 AND t_ns < ?4",
            (source, name, since_ns or 0, _LATEST_NS if until_ns is None else until_ns),
        )
        if first is not None:
            low, high = min(low, first), max(high, last)
    return low - 1, high


def _result(row: Any) -> StoredResult:
    return StoredResult(
        site=row[0], station=row[1], epoch=row[2], seq=row[3], t_ns=row[4], observed_ns=row[5], stored_ns=row[6],
        backlog=bool(row[7]), body=msgspec.Raw(row[8]),
    )  # fmt: skip
