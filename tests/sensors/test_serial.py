"""Serial sensors over a real pty: damage, resynchronisation, disconnection."""

from __future__ import annotations

import random
import socket
import threading
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from edge_sdk.base.backoff import Backoff
from edge_sdk.base.clock import SystemClock
from edge_sdk.base.errors import ConfigError, SensorError
from edge_sdk.contract.reading import Reading
from edge_sdk.sensors.keeper import Keeper
from edge_sdk.sensors.nmea import Nmea
from edge_sdk.sensors.pms5003 import Pms5003
from edge_sdk.sensors.sds011 import Sds011
from edge_sdk.sensors.serial_csv import SerialCsv
from edge_sdk.sensors.watch import SensorState
from tests.sensors.stands import Pty, sds011_frame, talking
from tests.sensors.test_conformance import ignore, until

pytestmark = pytest.mark.anyio
CLOCK = SystemClock()


def sds011(port: Path | str, **options: Any) -> Sds011:
    return Sds011("dust", Sds011.Options(port=str(port), **options), clock=CLOCK)


async def test_damaged_frames_are_counted_and_the_others_come_through(tmp_path: Path) -> None:
    def say(turn: int) -> bytes:
        frame = sds011_frame(turn % 100, 7)
        if turn % 4 == 1:
            return frame[:4] + b"\x99" + frame[5:]  # a flipped byte
        if turn % 4 == 2:
            return b"\xaa\xc0\x00noise" + frame  # a header that is none
        if turn % 4 == 3:
            return frame[:6]  # cut short
        return frame

    with talking(tmp_path / "tty", say, every_s=0.01) as pty:
        sensor = sds011(pty.link, rate_hz=100)
        came = await until(sensor.run, 8)

    samples = np.concatenate([reading.samples for reading in came])
    assert (samples[:, 1] == 7).all()
    assert set(samples[:, 0] % 4) <= {0, 2}
    assert sensor.counters["frames.malformed"] > 0
    assert sensor.counters["bytes.skipped"] > 0


async def test_many_rows_of_one_moment_are_one_block_with_times_of_their_own(tmp_path: Path) -> None:
    def say(turn: int) -> bytes:
        return b"".join(b"%d\n" % (turn * 50 + n) for n in range(50))

    with talking(tmp_path / "tty", say, every_s=0.1) as pty:
        sensor = SerialCsv("fast", SerialCsv.Options(port=str(pty.link), columns=("n",), rate_hz=500), clock=CLOCK)
        came = await until(sensor.run, 4)

    assert max(len(reading.samples) for reading in came) >= 25
    times = np.concatenate([reading.sample_times_ns for reading in came])
    assert (np.diff(times) > 0).all()
    assert all(reading.rate_hz == 500 for reading in came)


async def test_a_plug_that_is_pulled_out_is_a_lost_sensor_and_nothing_of_before_is_mixed_in(tmp_path: Path) -> None:
    pty = Pty(tmp_path / "tty")
    sensor = SerialCsv("lines", SerialCsv.Options(port=str(pty.link), columns=("a", "b")), clock=CLOCK)
    keeper = Keeper(sensor, clock=CLOCK, backoff=Backoff(base_s=0.02, cap_s=0.05, rng=random.Random(1)))
    came: list[Reading] = []

    async def emit(reading: Reading) -> None:
        came.append(reading)

    async def says(data: bytes, n: int) -> None:
        with anyio.fail_after(60):
            while len(came) < n:
                pty.say(data)
                await anyio.sleep(0.02)

    async with anyio.create_task_group() as group:
        group.start_soon(keeper.run, emit)
        await says(b"1,2\n", 2)
        pty.say(b"9")  # the beginning of a line that never ends
        await anyio.sleep(0.05)
        pty.pull()
        with anyio.fail_after(60):
            while keeper.state is not SensorState.LOST:
                await anyio.sleep(0.005)
        pty.plug()
        n_before = len(came)
        await says(b"1,2\n", n_before + 2)
        group.cancel_scope.cancel()
    pty.pull()

    assert {tuple(row) for reading in came for row in reading.samples.tolist()} == {(1.0, 2.0)}
    assert sensor.counters["lines.partial"] >= 2


async def test_a_port_that_somebody_else_has_open_says_so(tmp_path: Path) -> None:
    with talking(tmp_path / "tty", lambda turn: sds011_frame(1, 2)) as pty:
        one, other = sds011(pty.link), sds011(pty.link)
        async with anyio.create_task_group() as group:
            running = anyio.Event()

            async def emit(reading: Reading) -> None:
                running.set()

            group.start_soon(one.run, emit)
            await running.wait()
            with pytest.raises(SensorError, match=r"exclusively lock|Resource temporarily unavailable"):
                await other.run(ignore)
            group.cancel_scope.cancel()


async def test_a_serial_server_on_the_network_is_read_like_a_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                while not enough.wait(0.02):
                    connection.sendall(sds011_frame(1, 2) * 3)

        enough = threading.Event()
        thread = threading.Thread(target=serve)
        thread.start()
        came: list[Reading] = []

        async def emit(reading: Reading) -> None:
            came.append(reading)
            enough.set()

        with pytest.raises(SensorError):  # the server hangs up
            await sds011(f"socket://127.0.0.1:{server.getsockname()[1]}").run(emit)
        thread.join()

    assert came[0].samples[0].tolist() == [1, 2]


async def test_a_port_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SensorError, match="ttyUSB9"):
        await sds011(tmp_path / "ttyUSB9").run(ignore)


def test_a_channel_that_the_device_has_not_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'pm2_5'"):
        Pms5003("dust", Pms5003.Options(port="/dev/null", channels=("pm25",)), clock=CLOCK)
    with pytest.raises(ConfigError, match="Did you mean 'latitude'"):
        Nmea("gps", Nmea.Options(port="/dev/null", channels=("lattitude",)), clock=CLOCK)
    with pytest.raises(ConfigError, match="a unit for each"):
        SerialCsv("x", SerialCsv.Options(port="/dev/null", columns=("a", "b"), units=("V",)), clock=CLOCK)
