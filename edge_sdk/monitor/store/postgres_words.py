"""What stations said of themselves, in PostgreSQL: rows locked in one order for all workers, written as arrays."""

from __future__ import annotations

from collections.abc import Iterable

from edge_sdk.monitor.store.base import Notice
from edge_sdk.monitor.store.database import Database
from edge_sdk.monitor.store.words import KnownStation, Words

_LATEST = (
    "INSERT INTO latest (station, stream, source, seq, t_ns, label, confidence, value, unit, degraded)"
    " SELECT * FROM unnest(CAST(? AS bigint[]), CAST(? AS text[]), CAST(? AS bigint[]), CAST(? AS bigint[]),"
    "  CAST(? AS bigint[]), CAST(? AS text[]), CAST(? AS float8[]), CAST(? AS float8[]), CAST(? AS text[]),"
    "  CAST(? AS boolean[]))"
    " ON CONFLICT (station, stream) DO UPDATE SET source = excluded.source, seq = excluded.seq, t_ns = excluded.t_ns,"
    "  label = excluded.label, confidence = excluded.confidence, value = excluded.value, unit = excluded.unit,"
    "  degraded = excluded.degraded"
    " WHERE CASE WHEN excluded.source = latest.source THEN excluded.seq > latest.seq"
    "  ELSE excluded.t_ns >= latest.t_ns END"
)


class PostgresWords(Words):
    """`Words` for several writers: what another may have changed is read anew in each transaction."""

    def __init__(self, db: Database) -> None:
        super().__init__(db)
        self._ids: dict[tuple[str, str], int] = {}

    def register(self, stations: Iterable[tuple[str, str]], now_ns: int) -> None:
        """Make rows of stations that are new."""
        for site, station in sorted(set(stations) - self._ids.keys()):
            self._db.execute(
                "INSERT INTO stations (site, station, last_seen_ns) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (site, station, now_ns),
            )
            [number] = self._db.execute(
                "SELECT id FROM stations WHERE site = ? AND station = ?", (site, station)
            ).fetchone()
            self._ids[site, station] = number

    def lock(self, stations: Iterable[int], notices: Iterable[Notice]) -> None:
        """Lock the stations that this transaction changes, in one order, and read what others may have written."""
        self.forget()
        wanted = {*stations, *(self._ids[notice.site, notice.station] for notice in notices)}
        for number, site, station, epoch in self._db.execute(
            "SELECT id, site, station, epoch FROM stations WHERE id = ANY (CAST(? AS bigint[]))"
            " ORDER BY id FOR NO KEY UPDATE",
            (sorted(wanted),),
        ).fetchall():
            self._stations[site, station] = KnownStation(number, epoch)

    def station_id(self, site: str, station: str) -> int:
        """The row of a station that was registered."""
        return self._ids[site, station]

    def finish(self) -> None:
        """Write what was gathered since `start`."""
        rows = [
            (station, stream, source, one.seq, one.t_ns, one.label, one.confidence, one.value, one.unit, one.degraded)
            for (station, stream), (source, one) in sorted(self._latest.items(), key=lambda item: item[0])
        ]
        if rows:
            self._db.execute(_LATEST, [list(column) for column in zip(*rows, strict=True)])
        self._db.execute(
            "UPDATE stations SET rev = ?, last_seen_ns = ? WHERE id = ANY (CAST(? AS bigint[]))",
            (self._rev, self._now_ns, list(self._alive)),
        )
        self._db.execute(
            "UPDATE stations SET rev = ? WHERE id = ANY (CAST(? AS bigint[]))",
            (self._rev, list(self._changed.keys() - self._alive.keys())),
        )

    def _next_rev(self) -> int:
        return int(self._db.execute("SELECT CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT)").fetchone()[0])
