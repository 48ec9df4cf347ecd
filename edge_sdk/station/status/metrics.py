"""The station's numbers as Prometheus reads them: text exposition format 0.0.4."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

from edge_sdk.runtime.latency import BOUNDS_S, Latency
from edge_sdk.sensors.watch import SensorState
from edge_sdk.station.status.facts import Facts

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Counters whose growth means that something was given up.
_DROPS = re.compile(
    r"(?:^|\.)(?:outbox\.dropped|results\.refused|windows\.skipped\..+|readings\.(?:refused|malformed)"
    r"|samples\.(?:late|duplicate|bad_time|nan)|predictions\..+|bridge\.announcements_dropped)$"
)
_LINKS = ("closed", "connecting", "connected", "waiting")

Rows = Iterable[tuple[Mapping[str, str], float]]


def render(facts: Facts) -> str:
    """Everything, in one text."""
    lines: list[str] = []
    for name, kind, about, rows in (*_work(facts), *_machine(facts)):
        _add(lines, name, kind, about, rows)
    _add_histogram(lines, facts.latencies)
    return "\n".join(lines) + "\n"


def _work(facts: Facts) -> Iterator[tuple[str, str, str, Rows]]:
    birth, health, outbox = facts.birth, facts.health, facts.outbox
    who = {"site": birth.site, "station": birth.station, "version": birth.version, "board": birth.board}
    yield "edge_station_info", "gauge", "Who the station is.", [(who, 1)]
    yield "edge_station_start_time_seconds", "gauge", "When the process started.", [({}, birth.started.timestamp())]
    yield "edge_station_working", "gauge", "1 = it was proven lately that work goes on.", [({}, facts.is_working)]
    yield "edge_station_proven_age_seconds", "gauge", "Age of that proof.", [({}, facts.proven_age_s)]
    links = [({"state": state}, state == facts.link) for state in _LINKS]
    yield "edge_link", "gauge", "1 for the state of the link to the broker.", links
    sensors = [
        ({"sensor": name, "state": state.value}, state.value == now)
        for name, now in health.sensors.items()
        for state in SensorState
    ]
    yield "edge_sensor", "gauge", "1 for the state of each sensor.", sensors
    yield "edge_outbox_results", "gauge", "Results that wait for a receipt.", [({}, outbox.rows)]
    yield "edge_outbox_bytes", "gauge", "Size of the outbox file.", [({}, outbox.file_bytes)]
    yield "edge_outbox_quota_bytes", "gauge", "What it may grow to.", [({}, outbox.quota_bytes)]
    drops = [({"reason": name}, count) for name, count in health.counters.items() if _DROPS.search(name)]
    yield "edge_dropped_total", "counter", "What was given up, by reason.", drops
    counted = [({"name": name}, count) for name, count in health.counters.items()]
    yield "edge_counted_total", "counter", "Every counter of the station.", counted
    yield "edge_flag", "gauge", "1 for each flag of the health message.", [({"flag": one}, 1) for one in health.flags]


def _machine(facts: Facts) -> Iterator[tuple[str, str, str, Rows]]:
    vitals = facts.vitals
    zones = [({"zone": zone}, degrees) for zone, degrees in vitals.temperatures_c.items()]
    yield "edge_temperature_celsius", "gauge", "By thermal zone.", zones
    yield "edge_throttle_celsius", "gauge", "Where slowing down begins.", _one(vitals.throttle_c)
    why = [({"reason": reason}, reason in vitals.throttled) for reason in vitals.throttled_before]
    yield "edge_throttled", "gauge", "1 = the processor is slowed down now; 0 = it was since boot.", why
    yield "edge_written_bytes_total", "counter", "Sent to disks by this process.", _one(vitals.written_bytes)
    card = _one(vitals.card_written_bytes)
    yield "edge_card_written_bytes_total", "counter", "Written to the card since boot, by anybody.", card
    yield "edge_card_life_used_ratio", "gauge", "Worn share of the card, as it says.", _one(vitals.card_life_used)
    yield "process_resident_memory_bytes", "gauge", "Resident memory.", _one(vitals.rss_bytes)
    yield "process_cpu_seconds_total", "counter", "Processor time.", _one(vitals.cpu_s)
    yield "process_open_fds", "gauge", "Open file descriptors.", _one(vitals.open_files)


def _one(value: float | None) -> Rows:
    return [] if value is None else [({}, value)]


def _add(lines: list[str], name: str, kind: str, about: str, rows: Rows) -> None:
    told = [f"{name}{_labels(labels)} {_number(value)}" for labels, value in rows]
    if told:
        lines += (f"# HELP {name} {about}", f"# TYPE {name} {kind}", *told)


def _add_histogram(lines: list[str], latencies: Mapping[tuple[str, str], Latency]) -> None:
    name = "edge_model_seconds"
    if latencies:
        lines += (f"# HELP {name} How long a call of a model took.", f"# TYPE {name} histogram")
    for (stream, model), latency in latencies.items():
        labels = {"stream": stream, "model": model}
        counts = list(accumulate(latency.counts))
        for bound, count in zip((*map(repr, BOUNDS_S), "+Inf"), counts, strict=True):
            lines.append(f"{name}_bucket{_labels({**labels, 'le': bound})} {count}")
        lines.append(f"{name}_sum{_labels(labels)} {_number(latency.total_s)}")
        lines.append(f"{name}_count{_labels(labels)} {counts[-1]}")


def _labels(labels: Mapping[str, str]) -> str:
    inner = ",".join(f'{key}="{_escape(text)}"' for key, text in labels.items())
    return f"{{{inner}}}" if inner else ""


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return repr(float(value)) if isinstance(value, float) else str(int(value))
