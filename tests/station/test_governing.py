"""The governor in a station: a thermal zone in a file, real bundles with two variants, a processor that others hog."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import numpy as np
import pytest

from edge_sdk.base.clock import ManualClock, SystemClock
from edge_sdk.config.station import read_station
from edge_sdk.contract.bundle import Bundle, write_bundle
from edge_sdk.contract.reading import Reading
from edge_sdk.inference.model import Model
from edge_sdk.outbox.memory import MemoryOutbox
from edge_sdk.runtime.pipeline import Pipeline
from edge_sdk.runtime.scheduler import Scheduler
from edge_sdk.station.assembly import Assembly
from edge_sdk.station.governing import Governing
from edge_sdk.station.health import health_of
from edge_sdk.station.planning import schedule
from edge_sdk.station.vitals import Gauges
from edge_sdk.station.works import Works
from tests.models import onnx_model, tiny_bundle, weights

pytestmark = pytest.mark.anyio
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
STATION = """\
site: roof
station: hot
state_directory: state
trust: {allow_unsigned: true}
sensors:
  thing: {kind: simulated, options: {rate_hz: 2, channels: 2}}
streams:
  level:
    models: [{bundle: two.edge, runtime: onnxruntime}]
governor: {hot_c: 80, cool_c: 70, hold_s: 10, look_every_s: 0.01}
"""
HOGS = 16
SHARE = 0.15  # of one core that the stream takes alone: two and a half times what so many hogs leave it
HOG = "while kill -0 $PPID; do :; done"


def two_variants(path: Path) -> Bundle:
    """The tiny model twice: as it is, and as a larger file that stands first."""
    tiny = tiny_bundle(path)
    [small] = [variant for variant in tiny.manifest.variants if variant.format == "onnx"]
    import onnx

    large = onnx.load_from_string(onnx_model(weights()))
    large.doc_string = "x" * 1000
    files = {**tiny.files, "large.onnx": large.SerializeToString()}
    variants = (
        msgspec.structs.replace(small, file="large.onnx", precision="float32"),
        msgspec.structs.replace(small, precision="float16"),
    )
    manifest = msgspec.structs.replace(tiny.manifest, variants=variants)
    return write_bundle(
        path, manifest, {name: raw for name, raw in files.items() if name != "float32.tflite"}, key=None
    )


class World:
    """A governed stream, and somebody who heats the board."""

    def __init__(self, folder: Path) -> None:
        two_variants(folder / "two.edge")
        (folder / "station.yaml").write_text(STATION)
        self.zone, self.clock = folder / "sys" / "class" / "thermal" / "thermal_zone0" / "temp", ManualClock()
        self.zone.parent.mkdir(parents=True)
        config = read_station(folder / "station.yaml")
        assembly = Assembly(config, folder / "station.yaml", clock=self.clock)
        [self.stream] = schedule(assembly, assembly.pipelines(), clock=self.clock)
        self.told: list[tuple[str, dict[str, Any]]] = []
        assert config.governor is not None
        self.governing = Governing(
            config.governor,
            assembly,
            [self.stream],
            gauges=Gauges(folder, root=folder),
            clock=self.clock,
            noticed=lambda *said: self.told.append(said[::2]),
        )

    async def after(self, seconds: float, celsius: float, until: Callable[[], bool]) -> None:
        """Let time pass at a temperature, until something is so."""
        self.zone.write_text(f"{celsius * 1000:.0f}\n")
        with anyio.fail_after(60):
            while True:
                self.clock.monotonic += round(seconds * SECOND)
                await anyio.sleep(0.03)
                if until():
                    return


def precision(stream: Scheduler) -> str:
    return stream.pipeline.models[0].backend.variant.precision


async def test_a_hot_board_steps_down_to_smaller_variants_then_to_fewer_windows_and_back(tmp_path: Path) -> None:
    world = World(tmp_path)
    stream = world.stream
    async with anyio.create_task_group() as group:
        world.zone.write_text("50000\n")
        group.start_soon(world.governing.run)
        await world.after(0, 50, lambda: precision(stream) == "float32")
        assert list(world.governing.flags) == []

        await world.after(11, 85, lambda: precision(stream) == "float16")
        await world.after(11, 85, lambda: stream.every == 4)
        assert list(world.governing.flags) == ["governor.hot.3"]

        await world.after(41, 60, lambda: precision(stream) == "float32")
        assert list(world.governing.flags) == []
        assert int(stream.every) == 1
        group.cancel_scope.cancel()

    assert [name for name, _ in world.told] == ["governor.less"] * 3 + ["governor.more"] * 3
    assert world.told[0][1]["models"] == {"level.tiny": "float16"}


async def test_no_window_is_lost_by_a_change_of_variant(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.zone.write_text("50000\n")
    results = 0
    async with anyio.create_task_group() as group:
        group.start_soon(world.governing.run)
        for number in range(40):
            if number == 20:
                await world.after(11, 85, lambda: precision(world.stream) == "float16")
                world.zone.write_text("75000\n")
            samples = np.full((2, 2), 0.5, np.float32)
            block = Reading("thing", samples, START + number * SECOND, rate_hz=2.0)
            results += len(await anyio.to_thread.run_sync(world.stream.push, [block]))
        group.cancel_scope.cancel()

    assert world.stream.every == 1
    assert results == 39


def busy(path: Path) -> float:
    """Two variants for a sensor of so many Hz that the stream takes its share of one core, alone.

    Returns:
        The rate, Hz.
    """
    bundle = two_variants(path)
    pipeline = Pipeline([Model.open(bundle, runtime="onnxruntime")])
    blocks = [Reading("thing", np.ones((100, 2), np.float32), START + i * 50 * SECOND, rate_hz=2.0) for i in range(50)]
    begun = time.process_time()
    for block in blocks:
        pipeline.push(block)
    rate_hz = float(round(SHARE * 100 * len(blocks) / (time.process_time() - begun)))
    windowing = msgspec.structs.replace(bundle.manifest.windowing, rate_hz=rate_hz)
    write_bundle(path, msgspec.structs.replace(bundle.manifest, windowing=windowing), bundle.files, key=None)
    return rate_hz


@contextmanager
def one_core() -> Iterator[None]:
    """Have this process, and those that it starts, on one core alone."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


@contextmanager
def hogs() -> Iterator[None]:
    """Others who take all that they can get of this core."""
    started = [subprocess.Popen(["/bin/sh", "-c", HOG]) for _ in range(HOGS)]
    try:
        yield
    finally:
        for hog in started:
            hog.kill()
            hog.wait()


async def test_a_hogged_processor_means_less_work_and_a_warm_board_keeps_it_so_until_it_is_cool(tmp_path: Path) -> None:
    rate_hz = busy(tmp_path / "two.edge")
    (tmp_path / "station.yaml").write_text(
        STATION.replace("rate_hz: 2,", f"rate_hz: {rate_hz:.0f}, block_s: 0.05,").replace(
            "hold_s: 10, look_every_s: 0.01", "behind_s: 0.4, hold_s: 0.1, look_every_s: 0.05"
        )
    )
    zone = tmp_path / "sys" / "class" / "thermal" / "thermal_zone0" / "temp"
    zone.parent.mkdir(parents=True)
    zone.write_text("50000\n")
    clock, told = SystemClock(), list[str]()
    config, gauges, outbox = (
        read_station(tmp_path / "station.yaml"),
        Gauges(tmp_path, root=tmp_path),
        MemoryOutbox(clock=clock),
    )
    with one_core():
        works = Works(
            Assembly(config, tmp_path / "station.yaml", clock=clock),
            outbox=outbox,
            gauges=gauges,
            clock=clock,
            accepted=lambda _: None,
            noticed=lambda name, *_: told.append(name),
            turned=lambda: None,
        )

        def flags() -> tuple[str, ...]:
            health = health_of("hot", works=works, outbox=outbox, vitals=gauges.read(), counters={}, clock=clock)
            return tuple(flag for flag in health.flags if flag.startswith("governor."))

        async def until(is_so: Callable[[], bool]) -> None:
            with anyio.fail_after(120):
                while not is_so():
                    await anyio.sleep(0.02)

        def accepted() -> int:
            return works.engine.counters.all().get("results.accepted", 0)

        async with anyio.create_task_group() as group:
            group.start_soon(works.run)
            await until(lambda: accepted() > 0 and not flags())
            with hogs():
                await until(lambda: any(flag.startswith("governor.behind.") for flag in flags()))
                zone.write_text("75000\n")  # neither hot nor cool: from here on work gets no more
            before = accepted()
            await until(lambda: accepted() > before + 100)
            assert flags()
            since = len(told)
            zone.write_text("60000\n")
            await until(lambda: not flags() and told.count("governor.less") == told.count("governor.more"))
            group.cancel_scope.cancel()
        works.close()

    assert "governor.more" not in told[:since]
