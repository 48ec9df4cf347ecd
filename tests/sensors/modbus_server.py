"""pymodbus's own server, on a loopback port or a serial line, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from tests.brokers import free_port

_SIZE = 100


class ModbusServer:
    """Device 1 with 100 registers in each table; it can be stopped and started again.

    Values are by the address that they begin at.
    """

    def __init__(
        self,
        *,
        holding: Mapping[int, Sequence[int]],
        input: Mapping[int, Sequence[int]],
        coil: Mapping[int, Sequence[int]],
        serial: str | None,
    ) -> None:
        self.port = free_port()
        self._serial = serial
        self._tables = (
            [SimData(0, values=[bool(bit) for bit in _table(coil)], datatype=DataType.BITS)],
            [SimData(0, values=[False] * _SIZE, datatype=DataType.BITS)],
            [SimData(0, values=_table(holding), datatype=DataType.REGISTERS)],
            [SimData(0, values=_table(input), datatype=DataType.REGISTERS)],
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self.start()

    def start(self) -> None:
        ready = threading.Event()

        def serve() -> None:
            asyncio.run(self._serve(ready))

        self._thread = threading.Thread(target=serve, name="modbus server")
        self._thread.start()
        assert ready.wait(10)

    def stop(self) -> None:
        loop, server = self._loop, self._server
        assert loop is not None
        asyncio.run_coroutine_threadsafe(server.shutdown(), loop).result(10)
        self._thread.join(10)

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        context = SimDevice(id=1, simdata=self._tables)
        if self._serial is None:
            self._server: Any = ModbusTcpServer(context, address=("127.0.0.1", self.port))
        else:
            self._server = ModbusSerialServer(
                context, framer=FramerType.RTU, port=self._serial, baudrate=19200, ignore_missing_devices=True
            )
        await self._server.serve_forever(background=True)
        ready.set()
        await self._server.serving


def _table(values: Mapping[int, Sequence[int]]) -> list[int]:
    table = [0] * _SIZE
    for address, some in values.items():
        table[address : address + len(some)] = some
    return table


@contextmanager
def modbus_server(
    *,
    holding: Mapping[int, Sequence[int]] | None = None,
    input: Mapping[int, Sequence[int]] | None = None,
    coil: Mapping[int, Sequence[int]] | None = None,
    serial: str | None = None,
) -> Iterator[ModbusServer]:
    server = ModbusServer(holding=holding or {}, input=input or {}, coil=coil or {}, serial=serial)
    try:
        yield server
    finally:
        server.stop()
