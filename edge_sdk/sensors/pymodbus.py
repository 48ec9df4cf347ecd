"""Modbus clients, by pymodbus."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal

from pymodbus.client import ModbusSerialClient, ModbusTcpClient
from pymodbus.exceptions import ModbusException

from edge_sdk.base.errors import SensorError

Table = Literal["holding", "input", "coil", "discrete"]

_CURES = {
    1: "it does not know this table: try the other one",
    2: "no such address: many manuals count from 1, or from 40001, where 0 is meant",
    3: "not so many registers at once",
    4: "the device has failed",
    6: "the device is busy: ask less often",
    11: "the device behind the gateway does not answer: check device_id",
}


class ModbusClient:
    """One connection to one device.

    Args:
        client: One of pymodbus's clients that block, not yet connected.
        device_id: The device, 1 to 247.
        where: Its address, for errors.

    Raises:
        SensorError: It does not answer.
    """

    def __init__(self, client: Any, *, device_id: int, where: str) -> None:
        logging.getLogger("pymodbus.logging").setLevel(
            logging.CRITICAL
        )  # every packet of a failure; the keeper tells it
        self._client, self._device_id, self._where = client, device_id, where
        if not client.connect():
            client.close()
            raise SensorError(f"Modbus {where} does not answer. Check address, cable and power.")

    @classmethod
    def tcp(cls, host: str, port: int, *, device_id: int, timeout_s: float) -> ModbusClient:
        """Connect over a network. Raises SensorError."""
        client = ModbusTcpClient(host, port=port, timeout=timeout_s, retries=0)
        return cls(client, device_id=device_id, where=f"{host}:{port}")

    @classmethod
    def rtu(
        cls, path: str, *, baud: int, parity: str, stop_bits: int, device_id: int, timeout_s: float
    ) -> ModbusClient:
        """Connect over a serial line (RTU). Raises SensorError."""
        client = ModbusSerialClient(
            path, baudrate=baud, parity=parity, stopbits=stop_bits, timeout=timeout_s, retries=1
        )
        return cls(client, device_id=device_id, where=path)

    def read(self, table: Table, address: int, count: int) -> Sequence[int]:
        """Read `count` registers (16 bit) or bits.

        Raises:
            SensorError: It does not answer, or refuses.
        """
        ask: dict[str, Any] = {
            "holding": self._client.read_holding_registers,
            "input": self._client.read_input_registers,
            "coil": self._client.read_coils,
            "discrete": self._client.read_discrete_inputs,
        }
        try:
            answer = ask[table](address, count=count, device_id=self._device_id)
        except (ModbusException, OSError) as error:
            raise SensorError(f"Modbus {self._where}: {error}. Check cable, power and device_id.") from error
        if answer.isError():
            code = getattr(answer, "exception_code", 0)
            cure = _CURES.get(code, "see its manual")
            raise SensorError(f"Modbus {self._where} refuses {count} of {table} at {address}: code {code}, {cure}.")
        values: Sequence[int] = answer.bits if table in ("coil", "discrete") else answer.registers
        if len(values) < count:
            raise SensorError(f"Modbus {self._where} gave {len(values)} of {count} of {table} at {address}.")
        return values[:count]

    def close(self) -> None:
        """Hang up."""
        self._client.close()
