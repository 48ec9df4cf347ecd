"""What every registered sensor must do; a new entry point of ``edge_sdk.sensors`` is tested by being there."""

from __future__ import annotations

import gc
import os
import random
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import numpy as np
import pytest

import tests.sensors.stands as stands
from edge_sdk.base import plugins
from edge_sdk.base.backoff import Backoff
from edge_sdk.base.clock import SystemClock
from edge_sdk.base.errors import ConfigError, SensorError
from edge_sdk.base.yaml import convert
from edge_sdk.contract.reading import Reading
from edge_sdk.sensors.base import Instrument
from edge_sdk.sensors.keeper import Keeper
from edge_sdk.sensors.watch import SensorState

pytestmark = pytest.mark.anyio
ALL = sorted(plugins.found("edge_sdk.sensors"))
every_sensor = pytest.mark.parametrize("kind", ALL)
every_sensor_that_can_be_lost = pytest.mark.parametrize("kind", sorted({*ALL} - stands.CANNOT_BE_LOST))
# Units that a number's name or description may say.
UNITS = (
    "_s",
    "_hz",
    "_ns",
    "_bytes",
    "seconds",
    "samples a second",
    "how many",
    "unit",
    "pixels",
    "ns since",
    "bits a",
)
# Numbers that name something, or are ratios.
_UNIT_FREE = {"address", "bus_number", "device_id", "fail_every", "port", "seed", "speed"}
_BLOCKED_AT_MOST_S = 2.0


def standing(kind: str) -> stands.Build:
    assert kind in stands.STANDS, f"no stand for the plug-in {kind!r}: add one to tests/sensors/stands.py"
    return stands.STANDS[kind]


def made(kind: str, options: dict[str, Any], name: str = "thing") -> Instrument:
    """The plug-in as a station would make it."""
    plugin = plugins.load("edge_sdk.sensors", kind)
    given = convert(plain(options), plugin.Options, source="station.yaml", directory=Path("/"))
    sensor = plugin(name, given, clock=SystemClock())
    assert isinstance(sensor, Instrument)
    return sensor


def plain(value: Any) -> Any:
    """As YAML would give it."""
    match value:
        case dict():
            return {key: plain(one) for key, one in value.items()}
        case list() | tuple():
            return [plain(one) for one in value]
        case Path():
            return str(value)
    return value


@contextmanager
def nothing_left_open() -> Iterator[None]:
    """File descriptors at the end are those of the beginning."""
    gc.collect()  # paho's client is a cycle, with a pair of sockets in it
    before = set(os.listdir("/proc/self/fd"))
    yield
    deadline = time.monotonic() + 60.0
    while True:
        gc.collect()
        after = set(os.listdir("/proc/self/fd"))
        if len(after) <= len(before) or time.monotonic() > deadline:
            break
    assert len(after) <= len(before), after - before


async def until(run: Callable[[Any], Awaitable[None]], n_blocks: int, *, within_s: float = 60.0) -> list[Reading]:
    """Run until so many blocks came, then cancel."""
    came: list[Reading] = []
    with anyio.fail_after(within_s):
        async with anyio.create_task_group() as group:

            async def emit(reading: Reading) -> None:
                came.append(reading)
                if len(came) == n_blocks:
                    group.cancel_scope.cancel()

            async def work() -> None:
                await run(emit)
                group.cancel_scope.cancel()

            group.start_soon(work)
    return came


async def ignore(reading: Reading) -> None:
    pass


def fields(kind: type, path: str = "") -> Iterator[tuple[str, Any]]:
    for field in msgspec.inspect.type_info(kind).fields:  # type: ignore[attr-defined]
        yield f"{path}{field.encode_name}", field.type
        for struct in structs(field.type):
            yield from fields(struct, f"{path}{field.encode_name}.")


def structs(info: Any) -> Iterator[type]:
    match info:
        case msgspec.inspect.StructType():
            yield info.cls
        case msgspec.inspect.Metadata():
            yield from structs(info.type)
        case msgspec.inspect.UnionType():
            for one in info.types:
                yield from structs(one)
        case msgspec.inspect.VarTupleType() | msgspec.inspect.ListType():
            yield from structs(info.item_type)
        case msgspec.inspect.DictType():
            yield from structs(info.value_type)


def described(info: Any) -> str:
    match info:
        case msgspec.inspect.Metadata():
            return str((info.extra_json_schema or {}).get("description", "")) or described(info.type)
        case msgspec.inspect.UnionType():
            return next((words for one in info.types if (words := described(one))), "")
    return ""


def is_number(info: Any) -> bool:
    match info:
        case msgspec.inspect.Metadata():
            return is_number(info.type)
        case msgspec.inspect.UnionType():
            return any(is_number(one) for one in info.types)
        case msgspec.inspect.FloatType() | msgspec.inspect.IntType():
            return True
    return False


# ---- what it takes


@every_sensor
def test_options_are_strict_and_each_is_described(kind: str) -> None:
    options = plugins.load("edge_sdk.sensors", kind).Options

    assert [name for name, info in fields(options) if not described(info)] == []
    with pytest.raises(ConfigError, match="nonsense"):
        convert({"nonsense": 1}, options, source="station.yaml", directory=Path("/"))


@every_sensor
def test_every_number_says_its_unit(kind: str) -> None:
    options = plugins.load("edge_sdk.sensors", kind).Options
    silent = [
        name
        for name, info in fields(options)
        if is_number(info)
        and name.rpartition(".")[2] not in _UNIT_FREE
        and not any(unit in f"{name} {described(info).lower()}" for unit in UNITS)
    ]

    assert silent == []


@every_sensor
def test_options_can_be_read_without_any_library(kind: str) -> None:
    assert plugins.load("edge_sdk.sensors", kind).__doc__


# ---- what it does


@every_sensor
def test_making_it_opens_nothing(kind: str, tmp_path: Path) -> None:
    with standing(kind)(tmp_path) as stand:
        made(kind, stand.options)  # what it imports, it imports now
        threads = threading.active_count()
        with nothing_left_open():
            sensor = made(kind, stand.options)
        assert threading.active_count() <= threads

    assert len(set(sensor.channels)) == len(sensor.channels) == len(sensor.units) > 0
    assert sensor.rate_hz is None or sensor.rate_hz > 0
    assert sensor.block_s >= 0
    assert not stand.unit_is_known or all(sensor.units)


@every_sensor
async def test_what_it_measures_is_as_it_said(kind: str, tmp_path: Path) -> None:
    with standing(kind)(tmp_path) as stand:
        sensor = made(kind, stand.options)
        begun_ns = SystemClock().wall_ns()
        came = await until(sensor.run, 4)

    assert len(came) == 4
    for reading in came:
        assert reading.sensor == "thing"
        assert reading.samples.dtype == np.float32
        assert reading.samples.shape[1] == len(sensor.channels)
        assert np.isfinite(reading.samples).any()
        assert begun_ns <= reading.observed_ns <= SystemClock().wall_ns()
        assert reading.monotonic_ns > 0
        assert abs(int(reading.sample_times_ns[-1]) - reading.observed_ns) < 60e9
        assert (np.diff(reading.sample_times_ns) > 0).all()
    starts = [reading.start_ns for reading in came]
    assert starts == sorted(set(starts))
    assert all(isinstance(n, int) for n in sensor.counters.values())


@every_sensor
async def test_it_closes_what_it_opened_and_can_be_run_again(kind: str, tmp_path: Path) -> None:
    with standing(kind)(tmp_path) as stand:
        sensor = made(kind, stand.options)
        await until(sensor.run, 1)
        with nothing_left_open():
            for _ in range(3):
                assert len(await until(sensor.run, 1)) == 1


@every_sensor
async def test_it_never_holds_the_event_loop(kind: str, tmp_path: Path) -> None:
    longest_s = 0.0

    async def tick() -> None:
        nonlocal longest_s
        while True:
            before = anyio.current_time()
            await anyio.sleep(0.01)
            longest_s = max(longest_s, anyio.current_time() - before)

    with standing(kind)(tmp_path) as stand:
        sensor = made(kind, stand.options)
        await until(sensor.run, 1)  # what it imports, it imports now
        async with anyio.create_task_group() as group:
            group.start_soon(tick)
            await until(sensor.run, 3)
            group.cancel_scope.cancel()

    assert longest_s < _BLOCKED_AT_MOST_S


@every_sensor_that_can_be_lost
async def test_a_source_that_is_lost_is_a_state_and_it_is_found_again(kind: str, tmp_path: Path) -> None:
    with standing(kind)(tmp_path) as stand:
        turns: list[tuple[SensorState, str]] = []
        keeper = Keeper(
            made(kind, stand.options),
            clock=SystemClock(),
            stale_after_s=1.0,
            backoff=Backoff(base_s=0.02, cap_s=0.2, rng=random.Random(1)),
        )

        async def turned_to(state: SensorState) -> None:
            with anyio.fail_after(60):
                while keeper.state is not state:
                    await anyio.sleep(0.01)

        async with anyio.create_task_group() as group:
            group.start_soon(keeper.run, ignore, lambda state, why: turns.append((state, why)))
            await turned_to(SensorState.RUNNING)
            await anyio.to_thread.run_sync(stand.cut)
            await turned_to(SensorState.LOST)
            await anyio.to_thread.run_sync(stand.mend)
            await turned_to(SensorState.RUNNING)
            group.cancel_scope.cancel()

    told = [state for state, _ in turns if state is not SensorState.STALE]
    assert told == [SensorState.RUNNING, SensorState.LOST, SensorState.RUNNING]
    why = next(words for state, words in turns if state is SensorState.LOST)
    assert why
    assert "Traceback" not in why
    assert keeper.counters["lost"] == 1


@every_sensor_that_can_be_lost
async def test_a_source_that_is_not_there_at_the_start_is_a_sensor_error(kind: str, tmp_path: Path) -> None:
    with standing(kind)(tmp_path) as stand:
        sensor = made(kind, stand.options)
        await anyio.to_thread.run_sync(stand.cut)
        error: Exception | None = None
        with anyio.move_on_after(1.0) as silence:  # one that is silent is the keeper's to find lost
            try:
                await sensor.run(ignore)
            except SensorError as refused:
                error = refused
        await anyio.to_thread.run_sync(stand.mend)

    assert error is not None or silence.cancelled_caught


@pytest.mark.parametrize("kind", sorted(stands.ENDS))
async def test_it_ends_when_its_source_does(kind: str, tmp_path: Path) -> None:
    with standing(kind)(tmp_path) as stand:
        sensor = made(kind, stand.options)

        assert await until(sensor.run, 10_000)
