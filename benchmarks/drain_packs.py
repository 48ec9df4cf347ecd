"""A backlog drains in packs, each result committed with FULL before; against bare paho, which stores nothing.

`drain_packs` and `drain_packs_cpu` measure the drain, from opening the connection to an empty outbox.
`commit_and_drain` also counts the commits themselves, in groups of 1000, though a backlog makes them over hours.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import anyio

from benchmarks._delivery import EPOCH, bare_paho, broker, report, timed, typical_result
from edge_sdk.base.clock import SystemClock, to_datetime
from edge_sdk.contract.envelope import OutboxRow, encode_body, encode_result
from edge_sdk.contract.events import Birth
from edge_sdk.contract.topics import Kind, Topics
from edge_sdk.mqtt.bridge import Bridge
from edge_sdk.mqtt.paho import PahoTransport
from edge_sdk.mqtt.transport import BrokerAddress
from edge_sdk.outbox.sqlite import SqliteOutbox

RESULTS = 30_000
GROUP = 1000
ROUNDS = 5
TOPICS = Topics("bench", "station")


def ours(port: int) -> tuple[float, float, float, float]:
    """Wall and CPU seconds of the commits, then of the drain."""
    results = [typical_result(n) for n in range(GROUP)]
    with tempfile.TemporaryDirectory() as directory:
        outbox = SqliteOutbox.open(Path(directory) / "outbox.db", clock=SystemClock())

        def commit() -> None:
            for _ in range(RESULTS // GROUP):
                outbox.put(results)

        times = (*timed(commit), *timed(lambda: anyio.run(drain, outbox, port)))
        outbox.close()
    return times


async def drain(outbox: SqliteOutbox, port: int) -> None:
    bridge = Bridge(
        connect=lambda will: PahoTransport(BrokerAddress(port=port), client_id="ours", will=will),
        topics=TOPICS,
        outbox=outbox,
        birth=lambda: Birth(
            site="bench", station="station", epoch=outbox.epoch, version="1", board="", started=to_datetime(0)
        ),
        clock=SystemClock(),
        delivery="broker",
        backlog_results_per_s=float("inf"),
    )
    async with anyio.create_task_group() as group:
        group.start_soon(bridge.run)
        while outbox.stats().rows:
            await anyio.sleep(0.002)
        group.cancel_scope.cancel()


def main() -> None:
    payload = encode_result(OutboxRow(1, "occupancy", encode_body(typical_result()), 0), station="station", epoch=EPOCH)
    topic = TOPICS.of(Kind.RESULT, "occupancy")
    rates: list[tuple[float, float]] = []
    cpus: list[tuple[float, float]] = []
    whole: list[tuple[float, float]] = []
    with broker() as running:
        for _ in range(ROUNDS):
            put_wall, _, drain_wall, drain_cpu = ours(running.port)
            wall, cpu = timed(lambda: bare_paho(running.port, topic, payload, RESULTS))
            rates.append((RESULTS / drain_wall, RESULTS / wall))
            whole.append((RESULTS / (put_wall + drain_wall), RESULTS / wall))
            cpus.append((drain_cpu / RESULTS * 1e6, cpu / RESULTS * 1e6))
    report("drain_packs", *zip(*rates, strict=True), unit="results/s", goal=5.0, better="higher")
    report("drain_packs_cpu", *zip(*cpus, strict=True), unit="us/result", goal=0.25, better="lower")
    report("commit_and_drain", *zip(*whole, strict=True), unit="results/s", goal=1.0, better="higher")


if __name__ == "__main__":
    main()
