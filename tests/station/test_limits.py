"""A station on a small board: 256 MB, and three days in five minutes."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from edge_sdk.contract.manifest import Windowing
from tests.brokers import RunningBroker, mosquitto
from tests.models import LENGTH, tiny_bundle
from tests.station.ear import listening
from tests.station.limit import memory_limit
from tests.station.plugin import install
from tests.station.process import EDGE_SDK, Running, accepted, numbered, started, wait_for

MEGABYTE = 1_000_000
SMALL = """\
site: roof
station: small
state_directory: state
broker: {{url: "{broker}", delivery: broker}}
trust: {{allow_unsigned: true}}
sensors:
{sensors}
streams:
  level:
    models: [{models}]
status: {{port: 0}}
health_every_s: {health_every_s}
"""
# A sensor that is lost at random, as wires and buses are.
SOAKING = '''
"""A simulated sensor with a loose wire."""
import random
from edge_sdk.base.errors import SensorError
from edge_sdk.sensors.simulated import Simulated

class Soaking(Simulated):
    def __init__(self, name, options, *, clock):
        super().__init__(name, options, clock=clock)
        self._luck = random.Random(options.seed)
    async def run(self, emit):
        async def loose(reading):
            fate = self._luck.random()
            if fate < 0.002:
                raise SensorError("The wire is loose.")
            if fate < 0.003:
                raise OSError(5, "Input/output error")
            if fate < 0.02:
                return
            await emit(reading)
        await super().run(loose)
'''


def three(directory: Path, broker: RunningBroker, *, kind: str, options: str, rate_hz: float, health_s: float) -> Path:
    """Three sensors, three models."""
    names = ("light", "sound", "motion")
    for name in names:
        windowing = Windowing(length=LENGTH, stride=2, rate_hz=rate_hz, minimum_coverage=0.5)
        tiny_bundle(directory / f"{name}.edge", name=name, sensor=name, seed=len(name), windowing=windowing)
    path = directory / "station.yaml"
    path.write_text(
        SMALL.format(
            broker=broker.url,
            sensors="\n".join(
                f"  {name}: {{kind: {kind}, options: {{seed: {seed}, {options}}}}}" for seed, name in enumerate(names)
            ),
            models=", ".join(f"{{bundle: {name}.edge}}" for name in names),
            health_every_s=health_s,
        )
    )
    return path


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RunningBroker]:
    with mosquitto(tmp_path / "broker") as running:
        yield running


def peak_mb(pid: int) -> float:
    """The most that was ever resident, 10⁶ bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024 / MEGABYTE


def rss_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / MEGABYTE


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_a_station_runs_and_is_loaded_anew_in_256_mb(tmp_path: Path, broker: RunningBroker) -> None:
    config = three(tmp_path, broker, kind="simulated", options="rate_hz: 50, channels: 2", rate_hz=50, health_s=1)
    with memory_limit(256 * MEGABYTE) as limit, listening(broker.port) as ear:
        with (
            (tmp_path / "log.txt").open("wb") as log,
            subprocess.Popen([*EDGE_SDK, "station", "run", str(config)], stderr=log, preexec_fn=limit.enter) as station,
        ):
            wait_for(lambda: numbered(tmp_path) >= 100 or station.poll() is not None)
            assert station.poll() is None, (tmp_path / "log.txt").read_text()
            station.send_signal(signal.SIGHUP)
            ear.wait(lambda said: b"config.loaded" in said.payload)
            before = numbered(tmp_path)
            wait_for(lambda: numbered(tmp_path) >= before + 50 or station.poll() is not None)
            resident = peak_mb(station.pid)
            station.send_signal(signal.SIGTERM)
            assert station.wait(20) == 0, (tmp_path / "log.txt").read_text()
        used = limit.peak_bytes()

    assert resident < 200
    assert used is None or used <= 256 * MEGABYTE


def waiting(directory: Path) -> int:
    """How many results wait in the outbox, seen from beside it."""
    with closing(sqlite3.connect(f"{(directory / 'state' / 'outbox.sqlite').as_uri()}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT count(*) FROM results").fetchone()[0])


def soak(
    directory: Path, broker: RunningBroker, *, samples: int, rate_hz: int, backlog: int = 0, limit_mb: float = 3.0
) -> None:
    """So many samples of each of three sensors that are lost at random, while the broker comes and goes.

    Args:
        directory: Where all of it lies.
        broker: Is restarted again and again.
        samples: Of each sensor.
        rate_hz: Of each sensor.
        backlog: So many results wait, and drain, before memory is watched: what the deepest backlog takes is kept by
            the allocator, and a later, shallower one takes no more.
        limit_mb: What memory may grow by.
    """
    options = f"rate_hz: {rate_hz}, block_s: {100 / rate_hz}, channels: 2"
    config = three(directory, broker, kind="soaking", options=options, rate_hz=rate_hz / 10, health_s=0.05)
    plugin = install(directory, "edge_sdk.sensors", "soaking", SOAKING, "Soaking")
    luck = random.Random(7)
    watched: list[tuple[float, float, int]] = []
    command = [*EDGE_SDK, "station", "run", str(config), "--log-level", "error"]
    with started(command, directory, plugin) as station:
        wait_for(lambda: numbered(directory) >= 50)
        if backlog:
            broker.stop()
            wait_for(lambda: waiting(directory) >= backlog)
            broker.start()
            wait_for(lambda: waiting(directory) < backlog / 10)
        begun, over = time.monotonic(), samples / rate_hz
        next_cut = begun + over / 10
        while (now := time.monotonic()) - begun < over:
            assert station.process.poll() is None, station.log
            watched.append((now - begun, rss_mb(station.process.pid), descriptors(station.process.pid)))
            if now > next_cut:
                broker.restart()
                next_cut = now + over / 10 * luck.uniform(0.5, 1.5)
            time.sleep(over / 400)
        _end(station)
    _is_flat(watched, limit_mb)
    assert accepted(directory) > samples / 10 / 2 * 0.5


def _end(station: Running) -> None:
    assert station.stop() == 0, station.log
    assert "Traceback" not in station.log or "Input/output error" in station.log


def _is_flat(watched: list[tuple[float, float, int]], limit_mb: float) -> None:
    """From the second quarter of the time to the last, neither memory nor descriptors grow."""
    quarter = len(watched) // 4
    early, late = np.asarray(watched[quarter : 2 * quarter]), np.asarray(watched[3 * quarter :])
    grown = float(np.median(late[:, 1]) - np.median(early[:, 1]))
    assert grown < limit_mb, f"memory grew by {grown:.1f} MB: {[round(rss, 1) for _, rss, _ in watched[::20]]}"
    assert late[:, 2].max() <= early[:, 2].max() + 3, [count for _, _, count in watched[::20]]


def test_memory_and_descriptors_stay_flat_while_sensors_and_broker_come_and_go(
    tmp_path: Path, broker: RunningBroker
) -> None:
    soak(tmp_path, broker, samples=20_000, rate_hz=2000)


@pytest.mark.slow
def test_three_days_of_it(tmp_path: Path, broker: RunningBroker) -> None:
    """72 hours at 1 Hz are 259,200 samples of each sensor; twice as fast, it is the backlog in memory that is seen."""
    soak(tmp_path, broker, samples=259_200, rate_hz=1000, backlog=2000, limit_mb=2.0)
