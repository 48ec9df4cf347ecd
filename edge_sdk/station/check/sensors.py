"""Sensors: each is run until its first reading."""

from __future__ import annotations

import anyio
import numpy as np

from edge_sdk.base.errors import EdgeError, SensorError
from edge_sdk.contract.reading import Reading
from edge_sdk.sensors.keeper import Keeper
from edge_sdk.sensors.watch import SensorState
from edge_sdk.station.assembly import Assembly
from edge_sdk.station.check.finding import Finding, failed, note, well

Answer = tuple[Finding, Reading | None]


async def read_once(assembly: Assembly, limit_s: float) -> list[Answer]:
    """Run all sensors at once, each until its first reading, none longer than `limit_s`."""
    answers: dict[str, Answer] = {}

    async def one(name: str) -> None:
        answers[name] = await _first_of(assembly, name, limit_s)

    async with anyio.create_task_group() as group:
        for name in assembly.config.sensors:
            group.start_soon(one, name, name=f"check sensor {name}")
    return [answers[name] for name in assembly.config.sensors]


async def _first_of(assembly: Assembly, name: str, limit_s: float) -> Answer:
    what = f"sensor {name}"
    try:
        keeper = assembly.sensor(name)
    except EdgeError as error:
        return failed(what, error), None
    begun = anyio.current_time()
    reading, lost = await _run(keeper, limit_s)
    if reading is not None:
        return _judged(what, keeper, reading, anyio.current_time() - begun), reading
    if lost:
        return failed(what, SensorError(lost)), None
    if keeper.state is SensorState.ENDED:
        return note(what, "it ended without a reading", "Is its recording empty?"), None
    remedy = "If it is slower than that, give it time with --sensor-s; else check cable, power and address."
    return note(what, f"no reading within {limit_s:g} s", remedy), None


async def _run(keeper: Keeper, limit_s: float) -> tuple[Reading | None, str]:
    """Its first reading; else why it was lost, empty when it was not."""
    first: list[Reading] = []
    lost: list[str] = []

    async def emit(reading: Reading) -> None:
        first.append(reading)
        scope.cancel()
        await anyio.sleep_forever()

    def turned(state: SensorState, why: str) -> None:
        if state is SensorState.LOST:
            lost.append(why)
            scope.cancel()

    with anyio.move_on_after(limit_s) as scope:
        await keeper.run(emit, turned)
    return (first[0] if first else None), (lost[0] if lost else "")


def _judged(what: str, keeper: Keeper, reading: Reading, after_s: float) -> Finding:
    units = dict(zip(keeper.channels, keeper.units, strict=False))
    channels = ", ".join(f"{name} {units.get(name, '')}".strip() for name in keeper.channels)
    if not np.isfinite(reading.samples).any():
        remedy = "Check its wiring, and read it again."
        return note(what, f"channels {channels}; its first reading holds no number", remedy)
    return well(what, f"channels {channels}; first reading after {after_s:.1f} s")
