"""The herald: tells the broker, and the service manager, what happened in the station."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from edge_sdk.base.clock import Clock, to_datetime
from edge_sdk.contract.events import Health, Severity, StationEvent
from edge_sdk.outbox.sqlite import SqliteOutbox
from edge_sdk.station.crash import Ending

log = logging.getLogger(__name__)

_WARNINGS = (".killed", ".lost", ".off_rate", ".power_cut", ".refused", ".salvaged", ".stale")
_ENDINGS = {
    "crashed": "station.crashed",
    "native": "station.crashed",
    "killed": "station.killed",
    "power": "station.power_cut",
}


class Herald:
    """Makes events of what parts of the station notice.

    Args:
        station: The station's id.
        clock: When it happened.
        announce: Sends an event, when there is a broker.
    """

    def __init__(self, station: str, *, clock: Clock, announce: Callable[[StationEvent], None]) -> None:
        self._station, self._clock, self._announce = station, clock, announce

    def noticed(self, name: str, message: str, detail: dict[str, Any] | None = None) -> None:
        """Something happened: its dotted name says how much it matters."""
        severity = Severity.INFO
        if name.endswith(".crashed"):
            severity = Severity.ERROR
        elif name.endswith(_WARNINGS):
            severity = Severity.WARNING
        self._announce(
            StationEvent(
                station=self._station,
                t=to_datetime(self._clock.wall_ns()),
                name=name,
                severity=severity,
                message=message,
                detail=detail or {},
            )
        )

    def tell_salvage(self, outbox: SqliteOutbox) -> None:
        """Its file was damaged when it was opened: say what was saved and what was not."""
        saved = outbox.salvaged
        if saved is None:
            return
        self.noticed(
            "outbox.salvaged",
            f"The outbox was damaged: {len(saved.rows)} results were saved, at least {saved.damaged} were not. "
            "Is the card failing?",
            {"saved": len(saved.rows), "damaged": saved.damaged},
        )
        outbox.salvaged = None  # it holds every row that was saved

    def tell_ending(self, ending: Ending | None) -> None:
        """The run before this one did not end in order: say how."""
        if ending is None:
            return
        log.warning("last run did not end in order", extra={"how": ending.how, "why": ending.message})
        self.noticed(
            _ENDINGS[ending.how],
            ending.message,
            {
                "how": ending.how,
                "started": ending.started.isoformat(),
                "bad_starts": ending.bad_starts,
                "report": ending.report,
            },
        )


def status_line(health: Health, link: str) -> str:
    """What ``systemctl status`` shows."""
    idle = [f"{name} {state}" for name, state in health.sensors.items() if state != "running"]
    sensors = f"{len(health.sensors)} sensors" + (f" ({', '.join(idle)})" if idle else "")
    made = health.counters.get("results.accepted", 0)
    return f"{sensors}; {made} results, {health.outbox_rows} waiting; broker {link}"
