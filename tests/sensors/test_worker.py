from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterable

import anyio
import numpy as np
import pytest

from edge_sdk.base.errors import SensorError
from edge_sdk.contract.reading import Reading
from edge_sdk.sensors.worker import Worker

pytestmark = pytest.mark.anyio


class Tape:
    """A device that gives one block and then waits, or fails, or ends."""

    def __init__(self, then: Exception | None = None) -> None:
        self.then = then
        self.reads = 0
        self.reading = threading.Event()
        self.let_go = threading.Event()
        self.closed = 0

    def read(self) -> Iterable[Reading]:
        self.reads += 1
        if self.reads == 1:
            return [Reading("tape", np.zeros((3, 1), np.float32), 0, rate_hz=1.0)]
        if self.then is not None:
            raise self.then
        self.reading.set()
        self.let_go.wait(0.2)
        return []

    def close(self) -> None:
        self.closed += 1


async def ignore(reading: Reading) -> None:
    pass


async def test_the_end_of_the_source_is_the_end_of_the_pump() -> None:
    tape = Tape(EOFError())

    await Worker("tape").pump(lambda: tape, ignore)

    assert tape.closed == 1


async def test_an_error_of_the_system_is_a_lost_sensor() -> None:
    tape = Tape(OSError(5, "Input/output error"))

    with pytest.raises(SensorError, match=r"'tape'.*Input/output error"):
        await Worker("tape").pump(lambda: tape, ignore)

    assert tape.closed == 1


async def test_a_device_that_cannot_be_opened_is_a_lost_sensor() -> None:
    def missing() -> Tape:
        raise FileNotFoundError(2, "No such file or directory", "/dev/ttyUSB0")

    with pytest.raises(SensorError, match="/dev/ttyUSB0"):
        await Worker("tape").pump(missing, ignore)


async def test_what_is_cancelled_while_it_reads_is_closed_after_the_read() -> None:
    tape = Tape()

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(Worker("tape").pump, lambda: tape, ignore)
            await anyio.to_thread.run_sync(tape.reading.wait)
            group.cancel_scope.cancel()

    assert tape.closed == 1


async def test_what_is_cancelled_while_it_opens_is_closed_when_it_is_open_at_last() -> None:
    opening, go_on, tape = threading.Event(), threading.Event(), Tape()

    def slow() -> Tape:
        opening.set()
        go_on.wait(5)
        return tape

    async with anyio.create_task_group() as group:
        group.start_soon(Worker("tape").pump, slow, ignore)
        await anyio.to_thread.run_sync(opening.wait)
        group.cancel_scope.cancel()
    go_on.set()

    with anyio.fail_after(60):
        while not tape.closed:
            await anyio.sleep(0.001)


async def test_what_is_cancelled_before_it_begins_never_begins() -> None:
    worker, begun = Worker("tape"), threading.Event()

    with anyio.CancelScope() as scope:
        scope.cancel()
        await worker.do(begun.set)
    closed = threading.Event()
    with anyio.fail_after(60):
        await worker.close(closed.set)

    assert closed.is_set()
    assert not begun.is_set()


def test_a_call_that_hangs_for_ever_does_not_keep_the_process_from_ending() -> None:
    program = """
import anyio, threading
from edge_sdk.sensors.worker import Worker
async def main():
    worker, hanging = Worker("dead bus", patience_s=0.05), threading.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(worker.do, lambda: (hanging.set(), threading.Event().wait()))
        while not hanging.is_set():
            await anyio.sleep(0.001)
        group.cancel_scope.cancel()
    await worker.close()
anyio.run(main)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)

    assert "left behind" in done.stderr


async def test_the_thread_ends_with_its_sensor() -> None:
    def missing() -> Tape:
        raise FileNotFoundError

    await Worker("one").pump(lambda: Tape(EOFError()), ignore)
    with pytest.raises(SensorError):
        await Worker("other").pump(missing, ignore)

    with anyio.fail_after(60):
        while any(thread.name in ("sensor one", "sensor other") for thread in threading.enumerate()):
            await anyio.sleep(0.001)


async def test_a_call_that_hangs_is_left_behind_with_what_it_has_open(caplog: pytest.LogCaptureFixture) -> None:
    worker, hanging, let_go, closed = (
        Worker("tape", patience_s=0.1),
        threading.Event(),
        threading.Event(),
        threading.Event(),
    )

    def hang() -> None:
        hanging.set()
        let_go.wait(20)

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(worker.do, hang)
            await anyio.to_thread.run_sync(hanging.wait)
            group.cancel_scope.cancel()
        await worker.close(closed.set)
    finally:
        let_go.set()

    assert not closed.is_set()
    assert "left behind" in caplog.text
