"""What stations said of themselves, as both stores keep it: a small state machine per station."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from edge_sdk.base.clock import from_datetime
from edge_sdk.contract.events import Birth, Health, StationEvent, StationState, Status, encode_event
from edge_sdk.monitor.store.base import Arrival, Notice, Source
from edge_sdk.monitor.store.database import Database


@dataclass(slots=True)
class KnownStation:
    """A station within a transaction.

    Attributes:
        id: Its row.
        epoch: The outbox that it uses now.
    """

    id: int
    epoch: str


class Words:
    """Writes birth, status, health, events and last results inside the store's transaction.

    The state machine: ``unknown`` until a status is heard; then what the status says, except that an ``offline``
    of an outbox that the station no longer uses (a late will) is passed over.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._stations: dict[tuple[str, str], KnownStation] = {}
        self._now_ns = 0
        self._rev = 0
        self._alive: dict[int, None] = {}
        self._changed: dict[int, None] = {}
        self._latest: dict[tuple[int, str], tuple[int, Arrival]] = {}

    def forget(self) -> None:
        """Drop what is only in memory: the transaction failed."""
        self._stations.clear()

    def start(self, now_ns: int) -> None:
        """A transaction begins."""
        self._now_ns = now_ns
        self._rev = self._next_rev()
        self._alive.clear()
        self._changed.clear()
        self._latest.clear()

    def _next_rev(self) -> int:
        return int(self._db.execute("SELECT coalesce(max(rev), 0) + 1 FROM stations").fetchone()[0])

    def station_id(self, site: str, station: str) -> int:
        """The station's row, made when it is new."""
        return self._station(site, station).id

    def current_epoch(self, source: Source) -> str:
        """The outbox that this source's station uses now."""
        return self._station(source.site, source.station).epoch

    def heard(self, source: Source, station_id: int, source_id: int, new: list[Arrival]) -> None:
        """Results came from a source; `new` are those that were not there before."""
        self._alive[station_id] = None
        station = self._station(source.site, source.station)
        if not station.epoch:  # no birth yet: believe the results
            self._use_epoch(station, source.epoch)
        latest = self._latest
        for one in new:
            key = (station_id, one.stream)
            there = latest.get(key)
            if there is None or (one.seq > there[1].seq if there[0] == source_id else one.t_ns >= there[1].t_ns):
                latest[key] = (source_id, one)

    def take(self, notice: Notice) -> tuple[Source, int] | None:
        """Write one notice.

        Returns:
            The source whose receipt is due because of it, and the lowest number that its outbox will ever give.
        """
        station = self._station(notice.site, notice.station)
        if not notice.retained and not (isinstance(notice.what, Status) and notice.what.state is StationState.OFFLINE):
            self._alive[station.id] = None
        self._changed[station.id] = None
        what = notice.what
        if isinstance(what, Birth):
            self._birth(station, what)
            return Source(notice.site, notice.station, what.epoch), what.oldest
        if isinstance(what, Status):
            self._status(station, what)
            if what.state is StationState.ONLINE and station.epoch:
                return Source(notice.site, notice.station, station.epoch), 1
        elif isinstance(what, Health):
            self._health(station, what)
            if what.epoch and what.epoch == station.epoch:
                return Source(notice.site, notice.station, station.epoch), what.oldest
        else:
            self._event(station, notice, what)
        return None

    def finish(self) -> None:
        """Write what was gathered since `start`."""
        self._db.executemany(
            "INSERT INTO latest VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (station, stream) DO UPDATE SET"
            " source = excluded.source, seq = excluded.seq, t_ns = excluded.t_ns, label = excluded.label,"
            " confidence = excluded.confidence, value = excluded.value, unit = excluded.unit,"
            " degraded = excluded.degraded"
            " WHERE CASE WHEN excluded.source = latest.source THEN excluded.seq > latest.seq"
            "  ELSE excluded.t_ns >= latest.t_ns END",
            [
                (station, stream, source, one.seq, one.t_ns, one.label, one.confidence, one.value, one.unit,
                 one.degraded)
                for (station, stream), (source, one) in self._latest.items()
            ],
        )  # fmt: skip
        self._db.executemany(
            "UPDATE stations SET rev = ?, last_seen_ns = ? WHERE id = ?",
            [(self._rev, self._now_ns, station) for station in self._alive],
        )
        self._db.executemany(
            "UPDATE stations SET rev = ? WHERE id = ?",
            [(self._rev, station) for station in self._changed.keys() - self._alive.keys()],
        )

    def _station(self, site: str, station: str) -> KnownStation:
        known = self._stations.get((site, station))
        if known is None:
            self._db.execute(
                "INSERT INTO stations (site, station, last_seen_ns, rev) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (site, station, self._now_ns, self._rev),
            )
            number, epoch = self._db.execute(
                "SELECT id, epoch FROM stations WHERE site = ? AND station = ?", (site, station)
            ).fetchone()
            known = self._stations[site, station] = KnownStation(number, epoch)
        return known

    def _use_epoch(self, station: KnownStation, epoch: str) -> None:
        station.epoch = epoch
        self._db.execute("UPDATE stations SET epoch = ? WHERE id = ?", (epoch, station.id))

    def _birth(self, station: KnownStation, birth: Birth) -> None:
        if station.epoch != birth.epoch:
            self._use_epoch(station, birth.epoch)
        backends = ", ".join(dict.fromkeys("+".join((model.runtime, *model.delegates)) for model in birth.models))
        fallback = "; ".join(f"{model.name}: {model.fallback}" for model in birth.models if model.fallback)
        self._db.execute(
            "UPDATE stations SET version = ?, board = ?, backends = ?, fallback = ?, latitude = ?, longitude = ?,"
            " birth = ? WHERE id = ?",
            (birth.version, birth.board, backends, fallback, birth.latitude, birth.longitude,
             encode_event(birth), station.id),
        )  # fmt: skip

    def _status(self, station: KnownStation, status: Status) -> None:
        if status.state is StationState.OFFLINE and status.epoch and station.epoch not in {"", status.epoch}:
            return
        self._db.execute(
            "UPDATE stations SET state = ?, state_ns = ? WHERE id = ? AND state <> ?",
            (status.state.value, self._now_ns, station.id, status.state.value),
        )

    def _health(self, station: KnownStation, health: Health) -> None:
        t_ns = from_datetime(health.t)
        self._db.execute(
            "UPDATE stations SET backlog = ?, temperature_c = ?, health = ? WHERE id = ?",
            (health.outbox_rows, health.temperature_c, encode_event(health), station.id),
        )
        self._db.execute(
            "INSERT INTO health (station, t_ns, backlog, outbox_bytes, temperature_c, rss_bytes, inputs)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (station.id, t_ns, health.outbox_rows, health.outbox_bytes, health.temperature_c, health.rss_bytes,
             msgspec.json.encode(health.inputs) if health.inputs else None),
        )  # fmt: skip

    def _event(self, station: KnownStation, notice: Notice, event: StationEvent) -> None:
        self._db.execute(
            "INSERT INTO events (station, severity, t_ns, stored_ns, name, message, detail)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (station.id, notice.severity.value, from_datetime(event.t), self._now_ns, event.name, event.message,
             msgspec.json.encode(event.detail)),
        )  # fmt: skip
