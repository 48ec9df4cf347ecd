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

_INFO, _WARNING, _ERROR = Severity.INFO, Severity.WARNING, Severity.ERROR
EVENTS: dict[str, tuple[Severity, str]] = {
    "config.loaded": (_INFO, "A new configuration is in use."),
    "config.refused": (_WARNING, "A new configuration is refused; the one before goes on."),
    "delegate.lost": (_WARNING, "A model runs on the CPU, because its delegate failed."),
    "delegate.returned": (_INFO, "A model runs on its delegate again."),
    "governor.less": (_INFO, "The board is hot, slowed down or behind: less work is done."),
    "governor.more": (_INFO, "More work is done again."),
    "outbox.old_image": (
        _WARNING,
        "The outbox was put back from an old image of the card, or its last writes are lost.",
    ),
    "outbox.refused": (_WARNING, "Results were refused by the outbox: it is full, or the disk does not write."),
    "outbox.salvaged": (_WARNING, "The outbox file was damaged; what could be saved was saved."),
    "remote.kept": (_INFO, "A change from afar, on trial when the program was started, is kept."),
    "remote.refused": (_WARNING, "A change from afar was taken back at the start of the program."),
    "sensor.ended": (_INFO, "A sensor's source has ended."),
    "sensor.lost": (_WARNING, "A sensor does not answer; it is opened anew with back-off."),
    "sensor.off_rate": (_WARNING, "A sensor gives a fifth more or fewer samples than its rate says."),
    "sensor.running": (_INFO, "A sensor measures, for the first time or again."),
    "sensor.stale": (_WARNING, "A sensor says nothing new."),
    "station.checked": (_INFO, "Somebody runs `edge-sdk station check` with this station's configuration."),
    "station.crashed": (_ERROR, "The run before failed, or hung until the watchdog ended it; a report tells where."),
    "station.killed": (_WARNING, "The run before was killed from outside: for want of memory?"),
    "station.power_cut": (_WARNING, "The machine went off while the station ran."),
    "station.twin": (_WARNING, "Another station makes results under this one's name: a cloned card?"),
    "status.refused": (_WARNING, "The status endpoint's port is taken; the station goes on without it."),
}
"""What can happen: how much it matters, and what it means."""
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
        severity, _ = EVENTS.get(name, (Severity.INFO, ""))
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
