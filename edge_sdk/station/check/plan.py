"""The plan of a check: what is tried, in which order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import anyio

from edge_sdk.base.clock import SystemClock
from edge_sdk.base.errors import EdgeError
from edge_sdk.config.station import StationConfig, read_station
from edge_sdk.station.assembly import Assembly
from edge_sdk.station.check import broker, machine, outbox, secrets, sensors, streams
from edge_sdk.station.check.finding import Finding, failed, note, well


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
    assembly = Assembly(config, path, clock=SystemClock())
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


def _unused(config: StationConfig, read: set[str] | None) -> Iterator[Finding]:
    """Sensors that nobody reads; not known where a bundle cannot be opened."""
    for name in config.sensors:
        if read is not None and name not in read:
            yield note(
                f"sensor {name}", "no model reads it", f"Write `sensor: {name}` beside a bundle, or remove the sensor."
            )
