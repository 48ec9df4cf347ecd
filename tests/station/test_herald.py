"""Every event that a station can announce is known, with what it means."""

from __future__ import annotations

import re
from pathlib import Path

from edge_sdk.base.clock import ManualClock
from edge_sdk.contract.events import Severity, StationEvent
from edge_sdk.sensors.watch import SensorState
from edge_sdk.station.herald import EVENTS, Herald

ROOT = Path(__file__).parent.parent.parent / "edge_sdk"
_NOTICED = re.compile(r"""(?:noticed|notice)\(\s*f?"([a-z_.]+)"|"((?:delegate|governor|station)\.[a-z_]+)\"""")


def test_every_event_in_the_code_is_described() -> None:
    files = [*(ROOT / "station").rglob("*.py"), *(ROOT / "runtime").glob("*.py")]
    noticed = {one or other for file in files for one, other in _NOTICED.findall(file.read_text(encoding="utf-8"))}
    noticed.discard("station.yaml")
    sensors = {f"sensor.{state.value}" for state in SensorState if state is not SensorState.WAITING}

    assert noticed | sensors | {"station.checked", "outbox.old_image", "station.twin"} == set(EVENTS)


def test_an_event_carries_its_severity() -> None:
    said: list[StationEvent] = []
    herald = Herald("alone", clock=ManualClock(), announce=said.append)

    herald.noticed("sensor.lost", "Gone.")
    herald.noticed("station.crashed", "Failed.", {"how": "native"})
    herald.noticed("sensor.running", "Back.")

    assert [event.severity for event in said] == [Severity.WARNING, Severity.ERROR, Severity.INFO]
    assert said[1].detail == {"how": "native"}
