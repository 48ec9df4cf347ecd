"""Live results one by one: committed in groups of 20 with FULL, published singly; against bare paho.

Nothing is published before its commit. One group is committed, in a thread of its own, while others are sent; bare paho
publishes from a thread of its own, too. (A station's commits take a turn on its event loop between two of them, which
costs a fifth at such a rate.) Each group costs an fsync, so the medium has its say, too: `outbox_fsync_per_result`.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import anyio
import anyio.to_thread

from benchmarks._delivery import EPOCH, TOPICS, bare_paho, bridged_outbox, broker, report, timed, typical_result
from edge_sdk.base.clock import SystemClock
from edge_sdk.contract.envelope import OutboxRow, encode_body, encode_result
from edge_sdk.contract.topics import Kind
from edge_sdk.mqtt.bridge import Bridge
from edge_sdk.outbox.sqlite import SqliteOutbox

RESULTS = 10_000
GROUP = 20
ROUNDS = 5
AHEAD = 600  # rows that may wait; fewer than the live queue holds


def commit(outbox: SqliteOutbox, bridge: Bridge, loop: asyncio.AbstractEventLoop) -> None:
    """In a thread: commit group after group, and offer each to the bridge once it is on the medium."""
    results = [typical_result(n) for n in range(GROUP)]
    for committed in range(0, RESULTS, GROUP):
        while committed - bridge.counters["bridge.receipted"] > AHEAD:
            time.sleep(0.001)
        loop.call_soon_threadsafe(bridge.offer, outbox.put(results))


async def live(path: Path, port: int) -> int:
    """Commit and publish; how many went out one by one."""
    outbox = SqliteOutbox.open(path, clock=SystemClock())
    bridge = bridged_outbox(outbox, port)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bridge.run)
        while not bridge.connected:
            await anyio.sleep(0.002)
        await anyio.to_thread.run_sync(commit, outbox, bridge, asyncio.get_running_loop())
        while outbox.stats().rows:
            await anyio.sleep(0.002)
        tasks.cancel_scope.cancel()
    outbox.close()
    return bridge.counters["bridge.sent_live"]


def main() -> None:
    payload = encode_result(OutboxRow(1, "occupancy", encode_body(typical_result()), 0), station="station", epoch=EPOCH)
    topic = TOPICS.of(Kind.RESULT, "occupancy")
    rates: list[tuple[float, float]] = []
    with broker() as running, tempfile.TemporaryDirectory() as directory:
        for turn in range(ROUNDS):
            begun = time.perf_counter()
            sent = anyio.run(live, Path(directory) / f"{turn}.db", running.port)
            ours = time.perf_counter() - begun
            bare, _ = timed(lambda: bare_paho(running.port, topic, payload, RESULTS))
            rates.append((sent / ours, RESULTS / bare))
    report("drain_groups_of_20", *zip(*rates, strict=True), unit="results/s", goal=0.8, better="higher")


if __name__ == "__main__":
    main()
