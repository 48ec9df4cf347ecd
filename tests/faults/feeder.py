"""A station without sensors, as a process: puts results, bridges them, and writes down what `put` accepted.

``python -m tests.faults.feeder OUTBOX URL LEDGER [RATE [TIMEOUT_S [MOST]]]``; SIGTERM = put no more, drain, end. RATE
are results a second, 0 = as many as it can; TIMEOUT_S is how long it waits for a connection and for receipts. With
MOST, results come at RATE whether they can be put or not: so many may wait, what is more is refused and counted.
The ledger gets ``epoch seq value`` after each `put`, so it never holds a result that was not accepted.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import time
from collections import deque
from pathlib import Path

import anyio
import anyio.to_thread

from edge_sdk.base.backoff import Backoff
from edge_sdk.base.clock import ClockState, SystemClock, to_datetime
from edge_sdk.base.errors import OutboxError
from edge_sdk.contract.events import Birth
from edge_sdk.contract.result import FusedResult
from edge_sdk.contract.topics import Topics
from edge_sdk.mqtt.bridge import Bridge
from edge_sdk.mqtt.paho import PahoTransport
from edge_sdk.mqtt.transport import BrokerAddress
from edge_sdk.outbox.quota import Quota
from edge_sdk.outbox.sqlite import SqliteOutbox
from tests.faults.wordy import Wordy

log = logging.getLogger("feeder")

TOPICS = Topics("faults", "feeder")
_REPORT_EVERY_S = 10.0
_FLOW_S = 0.01
_TOGETHER = 100


def result(value: int) -> FusedResult:
    moment = to_datetime(SystemClock().wall_ns())
    return FusedResult(
        stream="s", t=moment, observed=moment, clock=ClockState.SYNCED, method="weighted_mean", value=float(value)
    )


class Flood:
    """Results that come at a rate, whether they can be taken or not.

    Attributes:
        offered: How many came.
        refused: Of these, how many found no place to wait.
    """

    def __init__(self, rate: float, most: int, rng: random.Random) -> None:
        self.offered = self.refused = 0
        self._rate, self._most, self._rng = rate, most, rng
        self._waiting: deque[FusedResult] = deque()

    async def run(self) -> None:
        """Let them come, until cancelled."""
        begun_s = time.monotonic()
        while True:
            for _ in range(round((time.monotonic() - begun_s) * self._rate) - self.offered):
                self.offered += 1
                if len(self._waiting) < self._most:
                    self._waiting.append(result(self._rng.getrandbits(50)))
                else:
                    self.refused += 1
            await anyio.sleep(_FLOW_S)

    async def take(self) -> list[FusedResult]:
        """What waits, as many as share a commit."""
        while not self._waiting:
            await anyio.sleep(_FLOW_S / 2)
        return [self._waiting.popleft() for _ in range(min(_TOGETHER, len(self._waiting)))]

    def left(self) -> int:
        """How many still wait; to be called at the end, when nobody takes them any more."""
        return len(self._waiting)


async def main(arguments: list[str]) -> None:
    path, url, ledger, rate, timeout_s, most = [*arguments, *("400", "2.0", "0")[len(arguments) - 3 :]]
    outbox = SqliteOutbox.open(Path(path), clock=SystemClock(), quota=Quota(keep_after_receipt_s=30.0))
    bridge = Bridge(
        connect=lambda will: PahoTransport(
            BrokerAddress.parse(url),
            client_id=f"feeder-{outbox.epoch}",
            will=will,
            keepalive_s=max(5, round(float(timeout_s))),
            connect_timeout_s=float(timeout_s),
        ),
        topics=TOPICS,
        outbox=outbox,
        birth=lambda: Birth(
            site=TOPICS.site,
            station=TOPICS.station,
            epoch=outbox.epoch,
            oldest=outbox.stats().oldest,
            version="1",
            board="test",
            started=to_datetime(SystemClock().wall_ns()),
        ),
        clock=SystemClock(),
        backoff=Backoff(base_s=0.05, cap_s=0.3, stable_s=1.0),
        resend_after_s=float(timeout_s) / 2,
    )
    rng = random.Random()
    flood = Flood(float(rate), int(most), rng) if int(most) else None
    book = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    stopping = anyio.Event()

    async def stop_on_signal() -> None:
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                stopping.set()

    async def report() -> None:
        while True:
            await anyio.sleep(_REPORT_EVERY_S)
            log.info("feeder goes on", extra={"counters": dict(bridge.counters), "waiting": outbox.stats().rows})

    async with anyio.create_task_group() as group:
        group.start_soon(stop_on_signal)
        group.start_soon(report)
        group.start_soon(bridge.run)
        if flood is not None:
            group.start_soon(flood.run)
        while not stopping.is_set():
            if flood is not None:
                results = await flood.take()
            else:
                results = [result(rng.getrandbits(50)) for _ in range(rng.choice((1, 1, 2, 5, 20)))]
            try:
                rows = await anyio.to_thread.run_sync(outbox.put, results)
            except OutboxError as error:  # as the engine does: counted, said, and on with the next
                log.warning("refused", extra={"results": len(results), "reason": str(error)})
                await anyio.sleep(0.02)
                continue
            before = outbox.epochs.current.before
            lines = (
                f"{outbox.epoch} {row.seq - before} {int(one.value or 0)}\n"
                for row, one in zip(rows, results, strict=True)
            )
            os.write(book, "".join(lines).encode())
            bridge.offer(rows)
            await anyio.sleep(len(rows) / float(rate) if float(rate) and flood is None else 0)
        if flood is not None:
            await anyio.Path(f"{ledger}.flood").write_text(f"{flood.offered} {flood.refused + flood.left()}")
        while outbox.stats().rows:
            await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    log.info("feeder ends", extra={"counters": dict(bridge.counters)})
    outbox.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    logging.getLogger().handlers[0].setFormatter(Wordy())
    anyio.run(main, sys.argv[1:])
