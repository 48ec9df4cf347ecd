"""The governor in a station: a thermal zone in a file, real bundles with two variants, a clock that is moved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import msgspec
import numpy as np
import pytest

from edge_sdk.base.clock import ManualClock
from edge_sdk.config.station import read_station
from edge_sdk.contract.bundle import Bundle, write_bundle
from edge_sdk.contract.reading import Reading
from edge_sdk.runtime.scheduler import Scheduler
from edge_sdk.station.assembly import Assembly
from edge_sdk.station.governing import Governing
from edge_sdk.station.planning import schedule
from edge_sdk.station.vitals import Gauges
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
