"""Many stations in one process: ``python -m tests.faults.fleet URL FIRST COUNT``; SIGTERM = say what happened, end.

Each has a bridge of its own and an outbox in memory, and puts a result a second. At the end, once all are connected and
hardly anything waits, or after a minute, it writes one line of JSON: which are connected, and how many results of each
the broker took.
"""

from __future__ import annotations

import json
import signal
import sys

import anyio

from edge_sdk.base.clock import SystemClock, to_datetime
from edge_sdk.contract.events import Birth
from edge_sdk.contract.topics import Topics
from edge_sdk.mqtt.bridge import Bridge
from edge_sdk.mqtt.paho import PahoTransport
from edge_sdk.mqtt.transport import BrokerAddress
from edge_sdk.outbox.memory import MemoryOutbox
from tests.faults.feeder import result

MOST_WAITING = 3
_SETTLED_WITHIN_S = 60.0


class One:
    """One station of the fleet."""

    def __init__(self, address: BrokerAddress, number: int) -> None:
        self.outbox = MemoryOutbox(clock=SystemClock())
        self._name = f"s{number}"
        self.bridge = Bridge(
            connect=lambda will: PahoTransport(address, client_id=self._name, will=will),
            topics=Topics("fleet", self._name),
            outbox=self.outbox,
            birth=self._birth,
            clock=SystemClock(),
            delivery="broker",
        )

    @property
    def has_come_back(self) -> bool:
        """Whether it is connected and has sent what waited."""
        return self.bridge.connected and self.outbox.stats().rows <= MOST_WAITING

    def _birth(self) -> Birth:
        started = to_datetime(SystemClock().wall_ns())
        return Birth(
            site="fleet", station=self._name, epoch=self.outbox.epoch, version="1", board="test", started=started
        )

    async def put(self) -> None:
        while True:
            self.bridge.offer(self.outbox.put([result(1)]))
            await anyio.sleep(1.0)


async def main(url: str, first: int, count: int) -> None:
    stations = [One(BrokerAddress.parse(url), first + number) for number in range(count)]
    async with anyio.create_task_group() as group:
        for station in stations:
            group.start_soon(station.bridge.run)
            group.start_soon(station.put)
            await anyio.sleep(0.005)
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                break
        with anyio.move_on_after(_SETTLED_WITHIN_S):
            while not all(station.has_come_back for station in stations):
                await anyio.sleep(0.1)
        print(
            json.dumps(
                {
                    "connected": [station.bridge.connected for station in stations],
                    "delivered": [station.bridge.counters["bridge.receipted"] for station in stations],
                    "waiting": [station.outbox.stats().rows for station in stations],
                }
            ),
            flush=True,
        )
        group.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
