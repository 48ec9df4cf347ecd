"""8,000 stations at one result a second: milliseconds from when a result was due until it is committed, 99 of 100.

The baseline is the bare paho loop under the same load. Give a number of stations to try another fleet.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import anyio

from benchmarks._delivery import EPOCH, report, typical_result
from benchmarks._ingest import BareLoop, Publisher, broker, make_ingest, packet, percentile, subscribe_and_leave
from edge_sdk.contract.envelope import OutboxRow, encode_body, encode_result
from edge_sdk.contract.topics import subscription
from edge_sdk.monitor.ingest import KINDS
from edge_sdk.monitor.store.base import Committed
from edge_sdk.monitor.store.sqlite import SqliteStore

SECONDS = 8
ROUNDS = 5
_SLICES = 50  # the publisher wakes so often a second


def packets(stations: int, second: int) -> list[bytes]:
    """One second of the fleet, in slices."""
    body = encode_body(typical_result(second))
    made = [
        packet(
            f"edge/v1/bench/s{station}/result/occupancy",
            encode_result(OutboxRow(second + 1, "occupancy", body, 0), station=f"s{station}", epoch=EPOCH),
            second * stations + station,
        )
        for station in range(stations)
    ]
    width = stations // _SLICES
    return [b"".join(made[at : at + width]) for at in range(0, stations, width)]


def publish(port: int, stations: int, begin: float) -> None:
    """In a process of its own: result n of station k is due at ``begin + n + k / stations``."""
    publisher = Publisher(port)
    for second in range(SECONDS):
        slices = packets(stations, second)
        for number, data in enumerate(slices, start=1):
            due = begin + second + number / len(slices)
            time.sleep(max(0.0, due - time.time()))
            publisher.send(data)
    publisher.wait(SECONDS * stations)
    publisher.close()


class Stopwatch:
    """How late each result was, from when it was due."""

    def __init__(self, stations: int, begin: float) -> None:
        self.late_ms: list[float] = []
        self._stations, self._begin = stations, begin

    def take(self, pairs: list[tuple[str, int]]) -> None:
        """Results of these stations and numbers were committed just now."""
        since_ms = 1000 * (time.time() - self._begin)
        scale = 1000 / self._stations
        self.late_ms.extend(since_ms - 1000 * (seq - 1) - scale * int(station[1:]) for station, seq in pairs)


def measure(stations: int, run: Callable[[int, Stopwatch, int], None]) -> float:
    with broker() as running:
        subscribe_and_leave(running.port, "worker", [subscription(kind) for kind in (*KINDS,)])
        begin = time.time() + 1.0
        watch = Stopwatch(stations, begin)
        child = os.fork()
        if not child:
            try:
                publish(running.port, stations, begin)
            finally:
                os._exit(0)
        run(running.port, watch, SECONDS * stations)
        os.waitpid(child, 0)
    if len(watch.late_ms) != SECONDS * stations:
        raise SystemExit(f"{SECONDS * stations - len(watch.late_ms)} results were lost")
    return percentile(watch.late_ms, 0.99)


def run_ours(port: int, watch: Stopwatch, results: int) -> None:
    async def work() -> None:
        with tempfile.TemporaryDirectory() as directory:
            store, done = SqliteStore(Path(directory) / "monitor.db"), anyio.Event()

            def committed(one: Committed) -> None:
                watch.take([(source.station, arrival.seq) for source, new in one.new.items() for arrival in new])
                if len(watch.late_ms) >= results:
                    done.set()

            ingest = make_ingest(store, port, "worker", committed)
            async with anyio.create_task_group() as group:
                group.start_soon(ingest.run)
                with anyio.move_on_after(SECONDS + 60):
                    await done.wait()
                ingest.stop()
            store.close()

    anyio.run(work)


def run_bare(port: int, watch: Stopwatch, results: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        loop = BareLoop(port, "worker", Path(directory) / "bare.db")
        done = threading.Event()

        def committed(pairs: list[tuple[str, int]]) -> None:
            watch.take(pairs)
            if len(watch.late_ms) >= results:
                done.set()

        loop.on_commit = committed
        with loop:
            done.wait(SECONDS + 60)


def main(stations: int = 8000) -> None:
    ours: list[float] = []
    bare: list[float] = []
    for number in range(ROUNDS):
        for run in (run_ours, run_bare) if number % 2 else (run_bare, run_ours):
            (ours if run is run_ours else bare).append(measure(stations, run))
    name = "fleet_commit_p99_ms" if stations == 8000 else f"fleet_commit_p99_ms_{stations}"
    report(name, ours, bare, unit="ms", goal=0.5, better="lower")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
