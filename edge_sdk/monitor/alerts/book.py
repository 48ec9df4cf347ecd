"""The book of alerts: which rule holds where and since when; durable, each change written once."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from edge_sdk.base.errors import StoreError
from edge_sdk.monitor.alerts.around import Around, Neighbours, Signs
from edge_sdk.monitor.alerts.rules import NotKnown, Rule
from edge_sdk.monitor.store.views import StationView

_SCHEMA = """
CREATE TABLE IF NOT EXISTS alerts (
    rule TEXT NOT NULL, site TEXT NOT NULL, station TEXT NOT NULL,
    fires INTEGER NOT NULL, turning_ns INTEGER, since_ns INTEGER NOT NULL, why TEXT NOT NULL, acknowledged TEXT,
    PRIMARY KEY (rule, site, station)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notices (
    id INTEGER PRIMARY KEY AUTOINCREMENT, sink TEXT NOT NULL, made_ns INTEGER NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS silences (
    id INTEGER PRIMARY KEY AUTOINCREMENT, rule TEXT NOT NULL, site TEXT NOT NULL, station TEXT NOT NULL,
    until_ns INTEGER NOT NULL, who TEXT NOT NULL
) STRICT;
"""
NOTICES = 10_000
"""So many unsent notices are kept at most; beyond it the oldest go."""


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that fires for a station.

    Attributes:
        rule: The rule's name.
        severity: How much it matters.
        site: The site's id.
        station: The station's id.
        since_ns: When it began to fire.
        why: For a person.
        acknowledged: Who has seen to it; None = nobody yet.
    """

    rule: str
    severity: str
    site: str
    station: str
    since_ns: int
    why: str
    acknowledged: str | None


class Silenced(msgspec.Struct, frozen=True, kw_only=True):
    """Alerts that send no notices for a while.

    Attributes:
        id: Its number.
        rule: Pattern of rules.
        site: Pattern of sites.
        station: Pattern of stations.
        until_ns: When it ends.
        who: Who wanted it.
    """

    id: int
    rule: str
    site: str
    station: str
    until_ns: int
    who: str


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One station in a notice.

    Attributes:
        site: The site's id.
        station: The station's id.
        why: For a person.
    """

    site: str
    station: str
    why: str


class AlertNotice(msgspec.Struct, frozen=True, kw_only=True):
    """What a sink is given: the stations for which one rule changed at one moment.

    Attributes:
        id: The same notice again, after a crash, has the same id.
        rule: The rule's name.
        severity: How much it matters.
        fires: Whether it began to fire; False = it went out.
        t_ns: When.
        stations: Which.
    """

    id: str
    rule: str
    severity: str
    fires: bool
    t_ns: int
    stations: tuple[Told, ...]

    @property
    def title(self) -> str:
        """One line for a person."""
        first = self.stations[0]
        more = f" and {len(self.stations) - 1} more" if len(self.stations) > 1 else ""
        return f"{'ALERT' if self.fires else 'over'}: {self.rule}, {first.site}/{first.station}{more}"

    @property
    def text(self) -> str:
        """A line for each station."""
        return "\n".join(f"{one.site}/{one.station}: {one.why}" for one in self.stations)


@dataclass(slots=True)
class _State:
    fires: bool
    turning_ns: int | None
    since_ns: int
    why: str
    acknowledged: str | None = None


class AlertBook:
    """Judges rules over the fleet; every change and the notices about it are one transaction.

    A monitor that starts again knows what fires already and does not say it twice. Safe to call from several threads.
    """

    def __init__(self, path: Path, rules: Sequence[Rule], sinks: Iterable[str]) -> None:
        """Open the file.

        Raises:
            StoreError: It cannot be used.
        """
        self._rules = {rule.name: rule for rule in rules}
        self._sinks = tuple(sinks)
        self._lock = threading.RLock()
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
            self._states = {
                (row[0], row[1], row[2]): _State(bool(row[3]), row[4], row[5], row[6], row[7])
                for row in self._db.execute(
                    "SELECT rule, site, station, fires, turning_ns, since_ns, why, acknowledged FROM alerts"
                )
            }
        except sqlite3.Error as error:
            raise StoreError(f"Alerts file {path} cannot be used: {error}.") from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def judge(
        self,
        stations: Iterable[StationView],
        *,
        now_ns: int,
        signs: Mapping[tuple[str, str, str], Signs] | None = None,
    ) -> int:
        """Judge every rule for these stations; returns how many alerts began or ended.

        Args:
            stations: The whole fleet.
            now_ns: The time.
            signs: What the survey found.
        """
        stations = list(stations)
        around = Around(neighbours=Neighbours(stations), signs=signs or {})
        changed: dict[tuple[str, bool], list[Told]] = {}
        touched: dict[tuple[str, str, str], _State | None] = {}
        with self._lock:
            for view in stations:
                for rule in self._rules.values():
                    if rule.covers(view):
                        self._judge_one(rule, view, around, now_ns, changed, touched)
            for key in [key for key in self._states if key[0] not in self._rules]:  # a rule that was taken away
                touched[key] = None
            if touched:
                self._write(touched, changed, now_ns)
        return sum(map(len, changed.values()))

    def firing(self) -> list[Alert]:
        """What fires now, the newest first."""
        alerts = [
            Alert(
                rule=rule, severity=self._rules[rule].severity.value, site=site, station=station,
                since_ns=state.since_ns, why=state.why, acknowledged=state.acknowledged,
            )
            for (rule, site, station), state in list(self._states.items())
            if state.fires and rule in self._rules
        ]  # fmt: skip
        return sorted(alerts, key=lambda one: -one.since_ns)

    def acknowledge(self, rule: str, site: str, station: str, *, who: str) -> bool:
        """Somebody sees to it; False = it does not fire."""
        with self._lock:
            state = self._states.get((rule, site, station))
            if state is None or not state.fires:
                return False
            state.acknowledged = who
            self._db.execute(
                "UPDATE alerts SET acknowledged = ? WHERE rule = ? AND site = ? AND station = ?",
                (who, rule, site, station),
            )
            return True

    def silence(self, rule: str, site: str, station: str, *, until_ns: int, who: str) -> None:
        """Send no notices for a while; rule, site and station are patterns. The page shows the alerts still."""
        with self._lock:
            self._db.execute(
                "INSERT INTO silences (rule, site, station, until_ns, who) VALUES (?, ?, ?, ?, ?)",
                (rule, site, station, until_ns, who),
            )

    def silences(self, *, now_ns: int) -> list[Silenced]:
        """What is silenced now, the one that ends first first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT id, rule, site, station, until_ns, who FROM silences WHERE until_ns > ? ORDER BY until_ns, id",
                (now_ns,),
            ).fetchall()
        return [Silenced(**dict(zip(Silenced.__struct_fields__, row, strict=True))) for row in rows]

    def end_silence(self, number: int) -> bool:
        """Let notices be sent again; False = there is no such silence."""
        with self._lock:
            return self._db.execute("DELETE FROM silences WHERE id = ?", (number,)).rowcount > 0

    def unsent(self, sink: str, *, limit: int = 100) -> list[tuple[int, AlertNotice]]:
        """Notices to send to a sink, oldest first, with their numbers."""
        with self._lock:
            rows = self._db.execute(
                "SELECT id, body FROM notices WHERE sink = ? ORDER BY id LIMIT ?", (sink, limit)
            ).fetchall()
        return [(row[0], msgspec.json.decode(row[1], type=AlertNotice)) for row in rows]

    def sent(self, number: int) -> None:
        """Forget a notice that was sent."""
        with self._lock:
            self._db.execute("DELETE FROM notices WHERE id = ?", (number,))

    def _judge_one(
        self,
        rule: Rule,
        view: StationView,
        around: Around,
        now_ns: int,
        changed: dict[tuple[str, bool], list[Told]],
        touched: dict[tuple[str, str, str], _State | None],
    ) -> None:
        key = (rule.name, view.site, view.station)
        state = self._states.get(key) or _State(False, None, now_ns, "")
        try:
            why = rule.judge(view, fires=state.fires, around=around)
        except NotKnown:
            return
        if (why is not None) == state.fires:
            if state.turning_ns is not None:
                state.turning_ns = None
                touched[key] = state if state.fires else None
            return
        if state.turning_ns is None:
            state.turning_ns = now_ns
            touched[key] = state
        if now_ns - state.turning_ns >= rule.for_s * 1e9:
            state = _State(why is not None, None, now_ns, why or state.why)
            touched[key] = state if state.fires else None
            changed.setdefault((rule.name, state.fires), []).append(
                Told(site=view.site, station=view.station, why=why or "is well again")
            )
        if touched.get(key) is not None:
            self._states[key] = state

    def _write(
        self,
        touched: dict[tuple[str, str, str], _State | None],
        changed: dict[tuple[str, bool], list[Told]],
        now_ns: int,
    ) -> None:
        db = self._db
        silences = db.execute("SELECT rule, site, station FROM silences WHERE until_ns > ?", (now_ns,)).fetchall()
        db.execute("BEGIN IMMEDIATE")
        for key, state in touched.items():
            if state is None:
                self._states.pop(key, None)
                db.execute("DELETE FROM alerts WHERE rule = ? AND site = ? AND station = ?", key)
            else:
                db.execute(
                    "INSERT OR REPLACE INTO alerts VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (*key, state.fires, state.turning_ns, state.since_ns, state.why, state.acknowledged),
                )
        for (name, fires), told in changed.items():
            rule = self._rules[name]
            loud = tuple(one for one in told if not _is_silenced(silences, name, one))
            for sink in (rule.sinks or self._sinks) if loud else ():
                notice = AlertNotice(
                    id=f"{name}-{now_ns}-{int(fires)}", rule=name, severity=rule.severity.value, fires=fires,
                    t_ns=now_ns, stations=loud,
                )  # fmt: skip
                db.execute(
                    "INSERT INTO notices (sink, made_ns, body) VALUES (?, ?, ?)",
                    (sink, now_ns, msgspec.json.encode(notice)),
                )
        db.execute("DELETE FROM notices WHERE id <= (SELECT max(id) FROM notices) - ?", (NOTICES,))
        db.execute("DELETE FROM silences WHERE until_ns <= ?", (now_ns,))
        db.execute("COMMIT")


def _is_silenced(silences: list[tuple[str, str, str]], rule: str, told: Told) -> bool:
    return any(
        fnmatchcase(rule, one[0]) and fnmatchcase(told.site, one[1]) and fnmatchcase(told.station, one[2])
        for one in silences
    )
