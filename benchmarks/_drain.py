"""What the benchmarks of draining share: a backlog that is committed and drained in packs, and bare paho beside it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import anyio

from benchmarks._delivery import EPOCH, TOPICS, bare_paho, bridged_outbox, broker, timed, typical_result
from edge_sdk.base.clock import SystemClock
from edge_sdk.contract.envelope import OutboxRow, encode_body, encode_result
from edge_sdk.contract.topics import Kind
from edge_sdk.outbox.sqlite import SqliteOutbox

RESULTS = 30_000
GROUP = 1000
ROUNDS = 5


@dataclass(frozen=True)
class Round:
    """Seconds of one round; bare paho publishes as many results one by one, and stores nothing.

    Attributes:
        commit_s: To commit them with FULL, in groups of 1000.
        drain_s: From opening the connection to an empty outbox.
        drain_cpu_s: CPU of all our threads meanwhile.
        bare_s: Bare paho.
        bare_cpu_s: CPU of it.
    """

    commit_s: float
    drain_s: float
    drain_cpu_s: float
    bare_s: float
    bare_cpu_s: float


def rounds() -> Iterator[Round]:
    """Measure, ours and bare paho in turn, each first in every other round."""
    payload = encode_result(OutboxRow(1, "occupancy", encode_body(typical_result()), 0), station="station", epoch=EPOCH)
    topic = TOPICS.of(Kind.RESULT, "occupancy")
    with broker() as running:
        for number in range(ROUNDS):
            if number % 2:
                ours = _ours(running.port)
            bare = timed(lambda: bare_paho(running.port, topic, payload, RESULTS))
            if not number % 2:
                ours = _ours(running.port)
            yield Round(*ours, *bare)


def _ours(port: int) -> tuple[float, float, float]:
    results = [typical_result(n) for n in range(GROUP)]
    with tempfile.TemporaryDirectory() as directory:
        outbox = SqliteOutbox.open(Path(directory) / "outbox.db", clock=SystemClock())

        def commit() -> None:
            for _ in range(RESULTS // GROUP):
                outbox.put(results)

        commit_s, _ = timed(commit)
        drain_s, drain_cpu_s = timed(lambda: anyio.run(_drain, outbox, port))
        outbox.close()
    return commit_s, drain_s, drain_cpu_s


async def _drain(outbox: SqliteOutbox, port: int) -> None:
    bridge = bridged_outbox(outbox, port, backlog_results_per_s=float("inf"))
    async with anyio.create_task_group() as group:
        group.start_soon(bridge.run)
        while outbox.stats().rows:
            await anyio.sleep(0.002)
        group.cancel_scope.cancel()
