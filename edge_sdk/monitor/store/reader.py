"""Reading a SQLite store: beside a running monitor, or after it. Charts are down-sampled in SQL."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec

from edge_sdk.base.errors import StoreError
from edge_sdk.contract.events import Birth, Health
from edge_sdk.monitor.store.sqlite_file import open_reader
from edge_sdk.monitor.store.views import (
    BacklogPoint,
    Bucket,
    Chart,
    Counters,
    EventView,
    Fleet,
    Latest,
    QuarantineView,
    SourceView,
    StationDetail,
    StationView,
    StoredResult,
)

if TYPE_CHECKING:
    from typing_extensions import Self

_RANGES = msgspec.json.Decoder(tuple[tuple[int, int], ...])
_STATION = (
    "SELECT id, site, station, state, state_ns, last_seen_ns, version, board, backends, fallback, latitude,"
    " longitude, backlog, temperature_c, epoch, birth, health FROM stations"
)
_RESULT = (
    "SELECT stations.site, stations.station, sources.epoch, seq, t_ns, observed_ns, stored_ns, results.backlog, body"
    " FROM results JOIN sources ON sources.id = results.source JOIN stations ON stations.id = sources.station"
)
# Raw results, and what retention made of older ones: an old result is in exactly one of the three.
_BUCKET = " UNION ALL ".join(
    [
        "SELECT label, count(*) AS n, avg(confidence), avg(value), min(value), max(value)"
        " FROM results INDEXED BY results_in_time"
        " WHERE source = ?1 AND stream = ?2 AND t_ns >= ?3 AND t_ns < ?4 GROUP BY label",
        *(
            "SELECT nullif(label, ''), sum(count), sum(confidence * count) / sum(count),"  # noqa: S608
            f" sum(value * count) / sum(count), min(low), max(high) FROM {table}"
            " WHERE source = ?1 AND stream = ?2 AND t_ns >= ?3 AND t_ns < ?4 GROUP BY label"
            for table in ("minutes", "hours")
        ),
    ]
)


class StoreReader:
    """Queries over a store file; never writes, never blocks the monitor. Safe to call from several threads."""

    def __init__(self, path: Path | str, *, silent_after_s: float = 90.0) -> None:
        """Open `path` for reading.

        Args:
            path: The SQLite file of a monitor.
            silent_after_s: After so long without a word, an online station counts as silent.

        Raises:
            StoreError: There is none, or it is none of ours.
        """
        self._db = open_reader(Path(path))
        self._lock = threading.Lock()
        self._silent_after_ns = round(silent_after_s * 1e9)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._db.close()

    def results(
        self,
        *,
        site: str | None = None,
        station: str | None = None,
        stream: str | None = None,
        since_ns: int | None = None,
        until_ns: int | None = None,
        limit: int | None = None,
    ) -> Iterator[StoredResult]:
        """Stored results in order of event time per source, read 10,000 at a time.

        Args:
            site: Only of this site.
            station: Only of stations of this name.
            stream: Only of this stream.
            since_ns: Event time at or after, nanoseconds since the Unix epoch.
            until_ns: Event time before.
            limit: At most so many; the newest ones, then still oldest first.
        """
        rows = self._all(
            "SELECT sources.id FROM sources JOIN stations ON stations.id = sources.station"
            " WHERE (?1 IS NULL OR site = ?1) AND (?2 IS NULL OR stations.station = ?2) ORDER BY sources.id",
            (site, station),
        )
        sources = [row[0] for row in rows]
        if limit is not None:
            yield from reversed(self._newest(sources, stream, since_ns, until_ns, limit))
            return
        for source in sources:
            after = 0
            while True:
                found = self._all(
                    f"{_RESULT} WHERE source = ?1 AND seq > ?2 AND (?3 IS NULL OR stream = ?3)"
                    " AND (?4 IS NULL OR t_ns >= ?4) AND (?5 IS NULL OR t_ns < ?5) ORDER BY seq LIMIT 10000",
                    (source, after, stream, since_ns, until_ns),
                )
                yield from map(_result, found)
                if len(found) < 10_000:
                    break
                after = found[-1][3]

    def _newest(
        self, sources: list[int], stream: str | None, since_ns: int | None, until_ns: int | None, limit: int
    ) -> list[StoredResult]:
        found: list[StoredResult] = []
        for source in sources:
            rows = self._all(
                f"{_RESULT} WHERE source = ?1 AND (?2 IS NULL OR stream = ?2) AND (?3 IS NULL OR t_ns >= ?3)"
                " AND (?4 IS NULL OR t_ns < ?4) ORDER BY seq DESC LIMIT ?5",
                (source, stream, since_ns, until_ns, limit),
            )
            found.extend(map(_result, rows))
        found.sort(key=lambda one: one.t_ns, reverse=True)
        return found[:limit]

    def counters(self) -> Counters:
        """Totals since the store was made."""
        counts = dict(self._all("SELECT name, count FROM counters"))
        ranges = self._all("SELECT epoch, stored, ranges FROM sources")
        sources = [_source(*row) for row in ranges]
        return Counters(
            stations=self._all("SELECT count(*) FROM stations")[0][0],
            results=counts.get("results.stored", 0),
            duplicates=counts.get("results.duplicates", 0),
            conflicts=counts.get("results.conflicts", 0),
            given_up=sum(one.given_up for one in sources),
            missing=sum(one.missing for one in sources),
            quarantined=counts.get("messages.quarantined", 0),
            received=counts.get("messages.received", 0),
        )

    def fleet(self, *, now_ns: int, since_rev: int = -1) -> Fleet:
        """Every station, or those that changed after commit `since_rev`."""
        rev = self._all("SELECT coalesce(max(rev), 0) FROM stations")[0][0]
        rows = self._all(f"{_STATION} WHERE rev > ? ORDER BY site, station", (since_rev,))
        latest: dict[int, list[Latest]] = {}
        if rows:
            for row in self._all(
                "SELECT latest.station, stream, t_ns, label, confidence, value, unit, degraded FROM latest"
                " JOIN stations ON stations.id = latest.station WHERE rev > ?",
                (since_rev,),
            ):
                latest.setdefault(row[0], []).append(_latest(row))
        return Fleet(
            rev=rev,
            now_ns=now_ns,
            silent_after_ns=self._silent_after_ns,
            stations=[self._view(row, latest.get(row[0], []), now_ns) for row in rows],
        )

    def station(self, site: str, station: str, *, now_ns: int) -> StationDetail | None:
        """All that is known of one station; None = never heard of."""
        rows = self._all(f"{_STATION} WHERE site = ? AND station = ?", (site, station))
        if not rows:
            return None
        row = rows[0]
        latest = self._all(
            "SELECT station, stream, t_ns, label, confidence, value, unit, degraded FROM latest WHERE station = ?",
            (row[0],),
        )
        sources = self._all("SELECT epoch, stored, ranges FROM sources WHERE station = ? ORDER BY id", (row[0],))
        return StationDetail(
            view=self._view(row, [_latest(one) for one in latest], now_ns),
            epoch=row[14],
            birth=msgspec.json.decode(row[15], type=Birth) if row[15] else None,
            health=msgspec.json.decode(row[16], type=Health) if row[16] else None,
            sources=[_source(*one) for one in sources],
        )

    def chart(
        self, site: str, station: str, stream: str, *, start_ns: int, end_ns: int, points: int = 300, picks: int = 60
    ) -> Chart:
        """One stream over ``[start_ns, end_ns)`` in at most `points` buckets, with up to `picks` whole results."""
        width = max(1, -(-(end_ns - start_ns) // points))
        sources = self._sources_of(site, station)
        buckets = []
        for low in range(start_ns, end_ns, width):  # one look per bucket: a single GROUP BY would sort every row
            rows = [
                row for source in sources for row in self._all(_BUCKET, (source, stream, low, min(low + width, end_ns)))
            ]
            if rows:
                buckets.append(_bucket(low, rows))
        chosen = self._picks(sources, stream, start_ns, end_ns, picks)
        return Chart(
            start_ns=start_ns,
            end_ns=end_ns,
            width_ns=width,
            buckets=buckets,
            picks=chosen,
        )

    def _picks(self, sources: list[int], stream: str, start_ns: int, end_ns: int, picks: int) -> list[StoredResult]:
        """The last result of each of `picks` stretches: a look into the index for each, no scan."""
        keys: dict[tuple[int, int], int] = {}
        for number in range(picks):
            low = start_ns + (end_ns - start_ns) * number // picks
            high = start_ns + (end_ns - start_ns) * (number + 1) // picks
            for source in sources:
                for seq, t_ns in self._all(
                    "SELECT seq, t_ns FROM results INDEXED BY results_in_time"
                    " WHERE source = ? AND stream = ? AND t_ns >= ? AND t_ns < ? ORDER BY t_ns DESC LIMIT 1",
                    (source, stream, low, high),
                ):
                    keys[source, seq] = t_ns
        return [
            _result(row)
            for key in sorted(keys, key=lambda key: keys[key])
            for row in self._all(f"{_RESULT} WHERE source = ? AND seq = ?", key)
        ]

    def backlog(self, site: str, station: str, *, start_ns: int, end_ns: int, points: int = 300) -> list[BacklogPoint]:
        """The station's backlog over time, the worst of each bucket."""
        width = max(1, -(-(end_ns - start_ns) // points))
        rows = self._all(
            "SELECT max(t_ns), max(health.backlog), max(outbox_bytes), max(health.temperature_c) FROM health"
            " JOIN stations ON stations.id = health.station"
            " WHERE site = ? AND stations.station = ? AND t_ns >= ? AND t_ns < ? GROUP BY (t_ns - ?) / ? ORDER BY 1",
            (site, station, start_ns, end_ns, start_ns, width),
        )
        return [BacklogPoint(t_ns=row[0], backlog=row[1], outbox_bytes=row[2], temperature_c=row[3]) for row in rows]

    def events(self, *, site: str | None = None, station: str | None = None, limit: int = 100) -> list[EventView]:
        """The newest events, newest first."""
        rows = self._all(
            "SELECT site, stations.station, severity, t_ns, name, message, detail FROM events"
            " JOIN stations ON stations.id = events.station"
            " WHERE (?1 IS NULL OR site = ?1) AND (?2 IS NULL OR stations.station = ?2)"
            " ORDER BY t_ns DESC, events.id DESC LIMIT ?3",
            (site, station, limit),
        )
        names = ("site", "station", "severity", "t_ns", "name", "message")
        return [EventView(**dict(zip(names, row[:6], strict=True)), detail=msgspec.Raw(row[6])) for row in rows]

    def quarantine(self, *, limit: int = 1000) -> list[QuarantineView]:
        """What could not be read, the last first."""
        rows = self._all(
            "SELECT reason, topic, count, first_ns, last_ns, head, message FROM quarantine"
            " ORDER BY last_ns DESC, id DESC LIMIT ?",
            (limit,),
        )
        return [
            QuarantineView(
                reason=row[0], topic=row[1], count=row[2], first_ns=row[3], last_ns=row[4],
                head=row[5].decode("utf-8", "backslashreplace"), message=row[6],
            )
            for row in rows
        ]  # fmt: skip

    def _sources_of(self, site: str, station: str) -> list[int]:
        rows = self._all(
            "SELECT sources.id FROM sources JOIN stations ON stations.id = sources.station"
            " WHERE site = ? AND stations.station = ? ORDER BY sources.id",
            (site, station),
        )
        return [row[0] for row in rows]

    def _view(self, row: Any, streams: list[Latest], now_ns: int) -> StationView:
        state = row[3]
        if state in {"online", "unknown"} and now_ns - row[5] > self._silent_after_ns:
            state = "silent"
        return StationView(
            site=row[1], station=row[2], state=state, state_ns=row[4], last_seen_ns=row[5], version=row[6],
            board=row[7], backends=row[8], fallback=row[9], latitude=row[10], longitude=row[11], backlog=row[12],
            temperature_c=row[13], streams=streams,
        )  # fmt: skip

    def _all(self, sql: str, arguments: tuple[object, ...] = ()) -> list[Any]:
        try:
            with self._lock:
                return self._db.execute(sql, arguments).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"The store cannot be read: {error}.") from error


def _latest(row: Any) -> Latest:
    return Latest(
        stream=row[1], t_ns=row[2], label=row[3], confidence=row[4], value=row[5], unit=row[6], degraded=bool(row[7])
    )


def _source(epoch: str, stored: int, raw: bytes) -> SourceView:
    ranges = _RANGES.decode(raw)
    covered = sum(high - low + 1 for low, high in ranges)
    highest = ranges[-1][1] if ranges else 0
    return SourceView(epoch=epoch, stored=stored, given_up=covered - stored, missing=highest - covered, highest=highest)


def _result(row: Any) -> StoredResult:
    return StoredResult(
        site=row[0], station=row[1], epoch=row[2], seq=row[3], t_ns=row[4], observed_ns=row[5], stored_ns=row[6],
        backlog=bool(row[7]), body=msgspec.Raw(row[8]),
    )  # fmt: skip


def _bucket(t_ns: int, rows: list[Any]) -> Bucket:
    counts: dict[str | None, int] = {}
    for row in rows:
        counts[row[0]] = counts.get(row[0], 0) + row[1]
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
    weight = sum(count for _, count in parts)
    return sum(mean * count for mean, count in parts) / weight if weight else None
