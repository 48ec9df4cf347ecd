"""The monitor's numbers as Prometheus reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from edge_sdk.monitor.alerts.book import Alert
from edge_sdk.monitor.ingest import IngestState
from edge_sdk.monitor.store.views import Counters, Fleet

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_COUNTERS = {
    "results": ("edge_results_stored_total", "Results stored."),
    "duplicates": ("edge_results_duplicate_total", "Results that came again and were refused."),
    "conflicts": ("edge_results_conflict_total", "Results with a stored result's key and other content."),
    "given_up": ("edge_results_given_up_total", "Results that stations announced they will never send."),
    "quarantined": ("edge_messages_quarantined_total", "Messages that could not be read."),
    "received": ("edge_messages_received_total", "MQTT messages received."),
}
STATES = ("online", "silent", "stopping", "offline", "unknown")


def render(counters: Counters, fleet: Fleet, alerts: Iterable[Alert], state: IngestState) -> str:
    """Text exposition format 0.0.4."""
    lines: list[str] = []
    for field, (name, about) in _COUNTERS.items():
        _add(lines, name, "counter", about, [({}, getattr(counters, field))])
    states = Counter(one.state for one in fleet.stations)
    _add(lines, "edge_stations", "gauge", "Stations by state.", [({"state": one}, states[one]) for one in STATES])
    firing = Counter((one.rule, one.severity) for one in alerts)
    rows = [({"rule": rule, "severity": severity}, count) for (rule, severity), count in sorted(firing.items())]
    _add(lines, "edge_alerts_firing", "gauge", "Alerts that fire, by rule.", rows)
    _add(lines, "edge_broker_connected", "gauge", "1 = subscribed at the broker.", [({}, int(state.is_connected))])
    _add(lines, "edge_commits_total", "counter", "Batches committed since the start.", [({}, state.commits)])
    place = [({"site": one.site, "station": one.station}, one) for one in fleet.stations]
    _add(
        lines, "edge_station_last_seen_seconds", "gauge", "When the station last said anything, Unix time.",
        [(where, one.last_seen_ns / 1e9) for where, one in place],
    )  # fmt: skip
    _add(
        lines, "edge_station_backlog", "gauge", "Results that wait on the station.",
        [(where, one.backlog) for where, one in place if one.backlog is not None],
    )  # fmt: skip
    _add(
        lines, "edge_station_temperature_celsius", "gauge", "Of the station's processor.",
        [(where, one.temperature_c) for where, one in place if one.temperature_c is not None],
    )  # fmt: skip
    _add(
        lines, "edge_station_confidence", "gauge", "Confidence of the newest result.",
        [
            ({**where, "stream": last.stream}, last.confidence)
            for where, one in place for last in one.streams if last.confidence is not None
        ],
    )  # fmt: skip
    return "\n".join(lines) + "\n"


def _add(lines: list[str], name: str, kind: str, about: str, rows: Iterable[tuple[Mapping[str, str], float]]) -> None:
    lines += (f"# HELP {name} {about}", f"# TYPE {name} {kind}")
    for labels, value in rows:
        inner = ",".join(f'{key}="{_escape(text)}"' for key, text in labels.items())
        lines.append(f"{name}{{{inner}}} {value}" if inner else f"{name} {value}")


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
