"""Reading a store: beside a running monitor, or after it. Charts are down-sampled in SQL (`chart`)."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec

from edge_sdk.contract.events import Birth, Health, InputSummary
from edge_sdk.monitor.store.chart import LAST_INPUTS, POSTGRES, SQLITE, buckets, grid, label_counts
from edge_sdk.monitor.store.database import is_url
from edge_sdk.monitor.store.inventory import BundleInField, bundles
from edge_sdk.monitor.store.place import open_reader
from edge_sdk.monitor.store.stored import in_order, last_of_stretches, newest
from edge_sdk.monitor.store.views import (
    BacklogPoint,
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

_INPUTS = msgspec.json.Decoder(dict[str, InputSummary])
_RANGES = msgspec.json.Decoder(tuple[tuple[int, int], ...])
_STATION = (
    "SELECT id, site, station, state, state_ns, last_seen_ns, version, board, backends, fallback, latitude,"
    " longitude, backlog, temperature_c, epoch, birth, health FROM stations"
)
_OF_STATION = " WHERE (CAST(?1 AS TEXT) IS NULL OR site = ?1) AND (CAST(?2 AS TEXT) IS NULL OR stations.station = ?2)"
# What is at or below this number has been committed and is seen by the query that follows.
_REV = {
    SQLITE: "SELECT coalesce(max(rev), 0) FROM stations",
    POSTGRES: "SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT) - 1",
}


class StoreReader:
    """Queries over a store; never writes, never blocks the monitor. Safe to call from several threads."""

    def __init__(self, place: Path | str, *, silent_after_s: float = 90.0) -> None:
        """Open a store for reading.

        Args:
            place: The SQLite file of a monitor, or a ``postgresql://`` URL.
            silent_after_s: After so long without a word, an online station counts as silent.

        Raises:
            StoreError: There is none, or it is none of ours.
            MissingExtraError: PostgreSQL needs psycopg.
        """
        self._db = open_reader(place)
        self._dialect = POSTGRES if is_url(place) else SQLITE
        self._lock = threading.Lock()
        self._silent_after_ns = round(silent_after_s * 1e9)

    @property
    def is_shared(self) -> bool:
        """Whether other processes may commit: then nobody tells us when to look."""
        return self._dialect is POSTGRES

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
            f"{_OF_STATION} ORDER BY sources.id",
            (site, station),
        )
        sources = _ids(rows)
        if limit is None:
            yield from in_order(self._all, self._dialect, sources, stream, since_ns, until_ns)
        else:
            yield from reversed(newest(self._all, sources, stream, since_ns, until_ns, limit))

    def counters(self) -> Counters:
        """Totals since the store was made."""
        counts = dict(self._all("SELECT name, count FROM counters"))
        sources = self._open_sources()
        [(settled,)] = self._all("SELECT coalesce(sum(settled), 0) FROM sources WHERE settled IS NOT NULL")
        return Counters(
            stations=self._all("SELECT count(*) FROM stations")[0][0],
            results=counts.get("results.stored", 0),
            duplicates=counts.get("results.duplicates", 0),
            conflicts=counts.get("results.conflicts", 0),
            given_up=int(settled) + sum(one.given_up for one in sources),
            missing=sum(one.missing for one in sources),
            quarantined=counts.get("messages.quarantined", 0),
            received=counts.get("messages.received", 0),
        )

    def fleet(self, *, now_ns: int, since_rev: int = -1) -> Fleet:
        """Every station, or those that changed after commit `since_rev`."""
        rev = self._all(_REV[self._dialect])[0][0]
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
        sources = self._open_sources(row[0])
        [(stored, settled)] = self._all(
            "SELECT coalesce(sum(stored), 0), coalesce(sum(settled), 0) FROM sources WHERE station = ?", (row[0],)
        )
        return StationDetail(
            view=self._view(row, [_latest(one) for one in latest], now_ns),
            epoch=row[14],
            birth=msgspec.json.decode(row[15], type=Birth) if row[15] else None,
            health=msgspec.json.decode(row[16], type=Health) if row[16] else None,
            stored=int(stored),
            given_up=int(settled) + sum(one.given_up for one in sources),
            missing=sum(one.missing for one in sources),
            sources=sources,
        )

    def chart(
        self, site: str, station: str, stream: str, *, start_ns: int, end_ns: int, points: int = 300, picks: int = 60
    ) -> Chart:
        """One stream over ``[start_ns, end_ns)`` in at most `points` buckets, with up to `picks` whole results."""
        sources = self._sources_of(site, station)
        on = grid(start_ns, end_ns, points)
        return Chart(
            start_ns=on.first_ns,
            end_ns=end_ns,
            width_ns=on.width_ns,
            buckets=buckets(self._all, self._dialect, sources, stream, on),
            picks=last_of_stretches(self._all, self._dialect, _ids(sources), stream, start_ns, end_ns, picks),
        )

    def label_counts(self, site: str, station: str, stream: str, *, start_ns: int, end_ns: int) -> dict[str, int]:
        """How often each label was fused over ``[start_ns, end_ns)``; an empty label is no answer."""
        on = grid(max(0, start_ns), end_ns, 1)
        return label_counts(self._all, self._dialect, self._sources_of(site, station), stream, on)

    def picks(
        self, site: str, station: str, stream: str, *, start_ns: int, end_ns: int, picks: int
    ) -> list[StoredResult]:
        """The last result of each of `picks` stretches of ``[start_ns, end_ns)``, in order of time."""
        sources = _ids(self._sources_of(site, station))
        return last_of_stretches(self._all, self._dialect, sources, stream, start_ns, end_ns, picks)

    def newest_health_ns(self, site: str, station: str) -> int | None:
        """When the station's newest health message was taken, by its own clock; None = there is none."""
        [(newest,)] = self._all(
            "SELECT max(t_ns) FROM health JOIN stations ON stations.id = health.station"
            " WHERE site = ?1 AND stations.station = ?2",
            (site, station),
        )
        return None if newest is None else int(newest)

    def inputs(
        self, site: str, station: str, *, start_ns: int, end_ns: int, picks: int
    ) -> list[dict[str, InputSummary]]:
        """What models were given, by stream and model: the last word of each of `picks` stretches, in order of time."""
        rows = self._all("SELECT id FROM stations WHERE site = ?1 AND station = ?2", (site, station))
        found = [one for (number,) in rows for one in self._all(LAST_INPUTS, (number, start_ns, end_ns, picks))]
        return [_INPUTS.decode(one) for (one,) in found if one is not None]

    def _open_sources(self, station: int | None = None) -> list[SourceView]:
        """Epochs that are not settled, of one station or of all."""
        rows = self._all(
            "SELECT epoch, stored, ranges FROM sources WHERE settled IS NULL"
            " AND (CAST(?1 AS BIGINT) IS NULL OR station = ?1) ORDER BY id",
            (station,),
        )
        return [_source(*row) for row in rows]

    def _sources_of(self, site: str, station: str) -> list[tuple[int, int]]:
        """Outboxes of a station: their ids, and the event time up to which raw results may be missing."""
        return self._all(
            "SELECT sources.id, pruned_ns FROM sources JOIN stations ON stations.id = sources.station"
            " WHERE site = ?1 AND stations.station = ?2 ORDER BY sources.id",
            (site, station),
        )

    def backlog(self, site: str, station: str, *, start_ns: int, end_ns: int, points: int = 300) -> list[BacklogPoint]:
        """The station's backlog over time, the worst of each bucket."""
        width = max(1, -(-(end_ns - start_ns) // points))
        rows = self._all(
            "SELECT max(t_ns), max(health.backlog), max(outbox_bytes), max(health.temperature_c), max(rss_bytes)"
            " FROM health JOIN stations ON stations.id = health.station"
            " WHERE site = ?1 AND stations.station = ?2 AND t_ns >= ?3 AND t_ns < ?4"
            " GROUP BY (t_ns - ?3) / ?5 ORDER BY 1",
            (site, station, start_ns, end_ns, width),
        )
        return [
            BacklogPoint(t_ns=row[0], backlog=row[1], outbox_bytes=row[2], temperature_c=row[3], rss_bytes=row[4])
            for row in rows
        ]

    def bundles(self, *, now_ns: int) -> list[BundleInField]:
        """Which models run in the field, on what and how often."""
        return bundles(
            (f"{site}/{station}", self._state(state, last_seen_ns, now_ns) == "online", birth)
            for site, station, state, last_seen_ns, birth in self._all(
                "SELECT site, station, state, last_seen_ns, birth FROM stations WHERE birth IS NOT NULL"
                " ORDER BY site, station"
            )
        )

    def events(self, *, site: str | None = None, station: str | None = None, limit: int = 100) -> list[EventView]:
        """The newest events, newest first."""
        rows = self._all(
            "SELECT site, stations.station, severity, t_ns, name, message, detail FROM events"
            f" JOIN stations ON stations.id = events.station{_OF_STATION}"
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

    def _view(self, row: Any, streams: list[Latest], now_ns: int) -> StationView:
        state = self._state(row[3], row[5], now_ns)
        return StationView(
            site=row[1], station=row[2], state=state, state_ns=row[4], last_seen_ns=row[5], version=row[6],
            board=row[7], backends=row[8], fallback=row[9], latitude=row[10], longitude=row[11], backlog=row[12],
            temperature_c=row[13], streams=streams,
        )  # fmt: skip

    def _state(self, said: str, last_seen_ns: int, now_ns: int) -> str:
        is_silent = said in {"online", "unknown"} and now_ns - last_seen_ns > self._silent_after_ns
        return "silent" if is_silent else said

    def _all(self, sql: str, arguments: Sequence[Any] = ()) -> list[Any]:
        with self._lock:
            return self._db.execute(sql, arguments).fetchall()


def _ids(sources: Sequence[Any]) -> list[int]:
    return [row[0] for row in sources]


def _latest(row: Any) -> Latest:
    return Latest(
        stream=row[1], t_ns=row[2], label=row[3], confidence=row[4], value=row[5], unit=row[6], degraded=bool(row[7])
    )


def _source(epoch: str, stored: int, raw: bytes) -> SourceView:
    ranges = _RANGES.decode(raw)
    covered = sum(high - low + 1 for low, high in ranges)
    highest = ranges[-1][1] if ranges else 0
    return SourceView(epoch=epoch, stored=stored, given_up=covered - stored, missing=highest - covered, highest=highest)
