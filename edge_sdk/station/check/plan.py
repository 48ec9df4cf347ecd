"""The plan of a check: what is tried, in which order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import anyio

from edge_sdk.base.clock import SystemClock
from edge_sdk.base.errors import EdgeError
from edge_sdk.config.station import StationConfig, read_station
from edge_sdk.station.check import broker, machine, outbox, secrets, sensors, streams
from edge_sdk.station.check.finding import Finding, failed, note, well
from edge_sdk.station.remote.applied import Applied
from edge_sdk.station.remote.office import DIRECTORY
from edge_sdk.station.remote.slots import Change, Slots, base_of


def check_station(
    path: Path, *, with_broker: bool = True, sensor_s: float = 10.0, receipt_s: float = 8.0
) -> Iterator[Finding]:
    """Try everything that `station run` will need; findings come as they are made, nothing is raised.

    Args:
        path: The configuration.
        with_broker: Try the broker, too.
        sensor_s: How long a sensor may take to its first reading.
        receipt_s: How long the monitor may take to its receipt.
    """
    try:
        config = read_station(path)
    except EdgeError as error:
        yield failed("configuration", error)
        return
    yield well("configuration", f"{config.site}/{config.station}")
    applied = Applied(path, Slots(config.state_directory / DIRECTORY), clock=SystemClock())
    try:
        assembly = applied.assembly(None)
        if (change := applied.slots.present) is not None:
            assembly = applied.assembly(change)
            yield _changed(applied, change)
    except EdgeError as error:
        yield replace(failed("remote", error), must=False, exit_code=0)
    config = assembly.config
    yield from secrets.check(config)
    readings = {}
    for finding, reading in anyio.run(sensors.read_once, assembly, sensor_s):
        yield finding
        if reading is not None:
            readings[reading.sensor] = reading
    yield from streams.check(assembly, readings)
    yield from _unused(config, streams.sensors_read(assembly))
    yield from machine.check(config.state_directory)
    yield from outbox.check(config)
    if with_broker:
        yield from broker.check(config, receipt_s=receipt_s)


def _changed(applied: Applied, change: Change) -> Finding:
    """What runs is not what the file says."""
    if change.base != base_of(applied.path):
        remedy = "Nothing to do: the file goes before it. To be rid of it: remove the remote/ of the state directory."
        return note("remote", f"the change from afar by {change.by} is void: the file was changed since", remedy)
    what = (
        f"{len(change.patches)} patches, {len(change.bundles)} bundles, the last by {change.by} at {change.made:%F %R}"
    )
    return well("remote", f"changed from afar and checked so: {what}")


def _unused(config: StationConfig, read: set[str] | None) -> Iterator[Finding]:
    """Sensors that nobody reads; not known where a bundle cannot be opened."""
    for name in config.sensors:
        if read is not None and name not in read:
            yield note(
                f"sensor {name}", "no model reads it", f"Write `sensor: {name}` beside a bundle, or remove the sensor."
            )
