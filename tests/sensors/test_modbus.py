"""Modbus against pymodbus's own server, over TCP and over a serial line made of two ptys."""

from __future__ import annotations

import os
import select
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_sdk.base.clock import SystemClock
from edge_sdk.base.errors import ConfigError, SensorError
from edge_sdk.sensors.modbus import Modbus, Register, Span, spans
from tests.sensors.modbus_server import ModbusServer, modbus_server
from tests.sensors.test_conformance import ignore, until

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server() -> Iterator[ModbusServer]:
    holding = {
        0: [0xFFFE, 7, 0x0001, 0x0002, *words(np.float32(21.5), ">f4")],
        10: words(np.int64(-(2**40)), ">i8")[::-1],
    }
    with modbus_server(holding=holding, input={3: [0x8000]}, coil={5: [1]}) as running:
        yield running


def words(value: np.generic, dtype: str) -> list[int]:
    return [int(word) for word in np.array([value], dtype).view(">u2")]


def modbus(registers: dict[str, Register], **options: Any) -> Modbus:
    return Modbus("meter", Modbus.Options(registers=registers, rate_hz=20, **options), clock=SystemClock())


async def test_registers_of_every_table_and_type_are_read(server: ModbusServer) -> None:
    registers = {
        "float": Register(address=4, type="float32"),
        "signed": Register(address=0, type="int16"),
        "unsigned": Register(address=0),
        "long": Register(address=2, type="uint32"),
        "swapped": Register(address=10, type="int64", word_order="little"),
        "coil": Register(address=5, table="coil"),
        "absent": Register(address=3, table="input", not_available=32768),
    }
    sensor = modbus(registers, host="127.0.0.1", port=server.port)

    [reading] = await until(sensor.run, 1)

    np.testing.assert_array_equal(
        reading.samples[0], np.array([21.5, -2, 65534, 65538, -(2**40), 1, np.nan], np.float32)
    )
    assert sensor.counters["values.missing"] == len(reading.samples)


async def test_an_address_that_is_not_there_says_how_manuals_count(server: ModbusServer) -> None:
    with pytest.raises(SensorError, match=r"count from 1, or from 40001"):
        await modbus({"x": Register(address=40001)}, host="127.0.0.1", port=server.port).run(ignore)


async def test_nobody_there_is_a_lost_sensor(server: ModbusServer) -> None:
    with modbus_server() as gone:
        port = gone.port
    with pytest.raises(SensorError, match="does not answer"):
        await modbus({"x": Register(address=0)}, host="127.0.0.1", port=port).run(ignore)


def test_either_a_host_or_a_serial_line() -> None:
    with pytest.raises(ConfigError, match="either"):
        modbus({"x": Register(address=0)})


def test_neighbours_are_read_together_and_nothing_else_is() -> None:
    registers = [
        Register(address=0),
        Register(address=1, type="float32"),
        Register(address=4),
        Register(address=2, table="input"),
        Register(address=1, type="int16"),
    ]

    assert spans(registers) == [Span("holding", 0, 3), Span("holding", 4, 1), Span("input", 2, 1)]


@settings(max_examples=100)
@given(
    st.lists(
        st.builds(
            Register,
            address=st.integers(0, 400),
            table=st.sampled_from(["holding", "input", "coil"]),
            type=st.sampled_from(["int16", "int32", "float64"]),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_every_register_lies_in_a_span_and_every_span_is_small_enough(registers: list[Register]) -> None:
    found = spans(registers)

    covered = {(span.table, address) for span in found for address in range(span.address, span.address + span.count)}
    wanted = {(one.table, address) for one in registers for address in range(one.address, one.address + one.size)}
    assert covered == wanted
    assert all(span.count <= (2000 if span.table == "coil" else 120) for span in found)


@contextmanager
def wire() -> Iterator[tuple[str, str]]:
    """Two serial ports with a wire between them."""
    (left, left_end), (right, right_end) = os.openpty(), os.openpty()
    over = threading.Event()

    def carry() -> None:
        while not over.is_set():
            for end in select.select([left, right], [], [], 0.02)[0]:
                os.write(right if end == left else left, os.read(end, 4096))

    for end in (left_end, right_end):
        tty.setraw(end)
    thread = threading.Thread(target=carry)
    thread.start()
    try:
        yield os.ttyname(left_end), os.ttyname(right_end)
    finally:
        over.set()
        thread.join()
        for fd in (left, left_end, right, right_end):
            os.close(fd)


async def test_a_device_on_a_serial_line_is_read_like_one_on_the_network() -> None:
    with wire() as (ours, theirs), modbus_server(serial=theirs, holding={7: [1234]}):
        sensor = modbus({"x": Register(address=7)}, serial=ours, baud=19200)
        [reading] = await until(sensor.run, 1)
        other = modbus({"x": Register(address=7)}, serial=ours, baud=19200, device_id=9, timeout_s=0.1)
        with pytest.raises(SensorError, match="code 4"):
            await other.run(ignore)

    assert reading.samples[0, 0] == 1234
