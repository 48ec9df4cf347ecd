"""The start: with what was changed from afar, or without it where that cannot be."""

from __future__ import annotations

import logging
from pathlib import Path

from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import BackendError, BundleError, ConfigError, PluginError, SensorError, TensorMismatchError
from edge_sdk.base.logs import Tail
from edge_sdk.config.station import read_station
from edge_sdk.station.crash import bad_starts
from edge_sdk.station.notify import Notifier
from edge_sdk.station.remote.applied import Applied
from edge_sdk.station.remote.office import DIRECTORY
from edge_sdk.station.remote.slots import Slots
from edge_sdk.station.station import Station

log = logging.getLogger(__name__)

# What a change from afar can be to blame for.
_BLAMED = (BackendError, BundleError, ConfigError, PluginError, SensorError, TensorMismatchError)


def assembled(
    path: Path, *, clock: Clock, credentials: str = "", notifier: Notifier | None = None, tail: Tail | None = None
) -> Station:
    """The station of a configuration; a change from afar with which it cannot start is taken back, and announced.

    Args:
        path: ``station.yaml``.
        clock: Where time comes from.
        credentials: Directory of secrets that systemd hands on; empty = none.
        notifier: The service manager.
        tail: The last lines of the log.

    Raises:
        EdgeError: It cannot be started as the file says, either.
    """
    state = read_station(path).state_directory
    slots = Slots(state / DIRECTORY)
    applied = Applied(path, slots, clock=clock, credentials=credentials)
    undone = list(slots.begin(bad_starts(state)))
    while True:
        change = slots.following or slots.present
        try:
            station = Station(applied, change, clock=clock, notifier=notifier, tail=tail)
        except _BLAMED as error:
            if change is None:
                raise
            undone.append(f"The station cannot start with the change by {change.by}, which is taken back: {error}")
            log.error("change from afar is taken back", extra={"by": change.by, "reason": str(error)})
            if slots.following is not None:
                slots.withdraw()
            else:
                slots.revert()
            continue
        for message in undone:
            station.notice("remote.refused", message)
        return station
