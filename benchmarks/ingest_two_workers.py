"""Two workers that share the messages and write one PostgreSQL, against one; results a second, receipts included.

The goal, 1.6 times, wants cores for the second worker beside broker, database and publisher: four at least. On fewer
the figure says little about the workers, and much about the cores.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks._delivery import EPOCH, report, typical_result
from benchmarks._ingest import Publisher, broker, packet
from edge_sdk.contract.envelope import OutboxRow, encode_body, encode_result
from edge_sdk.monitor.store.place import open_store
from edge_sdk.monitor.store.reader import StoreReader
from tests.databases import RunningPostgres, postgres

STATIONS = 200
RESULTS = 40_000
ROUNDS = 5
CORES = 4


def packets() -> bytes:
    body = encode_body(typical_result(1))
    return b"".join(
        packet(
            f"edge/v1/bench/s{number % STATIONS}/result/occupancy",
            encode_result(
                OutboxRow(number // STATIONS + 1, "occupancy", body, 0), station=f"s{number % STATIONS}", epoch=EPOCH
            ),
            number,
        )
        for number in range(RESULTS)
    )


def rate(server: RunningPostgres, sent: bytes, workers: int) -> float:
    """Results a second from the first that is published to the last that is stored."""
    url = server.new_database()
    open_store(url).close()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        running = stack.enter_context(broker())
        config = directory / "monitor.yaml"
        config.write_text(f'database: "{url}"\nbroker: {{url: "{running.url}"}}\ningest: {{share: bench}}\n')
        for number in range(workers):
            ready = directory / f"{number}.json"
            command = ["monitor", "worker", f"w{number}", str(config), "--ready-file", str(ready)]
            process = subprocess.Popen(
                [sys.executable, "-m", "edge_sdk.cli", *command], stderr=(directory / f"{number}.log").open("wb")
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
            while b"ingest is subscribed" not in (directory / f"{number}.log").read_bytes():
                time.sleep(0.05)
        reader = stack.enter_context(StoreReader(url))
        publisher = Publisher(running.port)
        begun = time.perf_counter()
        publisher.send(sent)
        while reader.counters().results < RESULTS:
            assert time.perf_counter() - begun < 180, reader.counters()
            time.sleep(0.02)
        seconds = time.perf_counter() - begun
        publisher.close()
        return RESULTS / seconds


def main() -> None:
    cores = len(os.sched_getaffinity(0))
    if cores < CORES:
        print(f"{cores} cores; a second worker wants {CORES} or more: the ratio says little", file=sys.stderr)
    sent = packets()
    one: list[float] = []
    two: list[float] = []
    with postgres() as server:
        for number in range(ROUNDS):
            for workers in (1, 2) if number % 2 else (2, 1):
                (one if workers == 1 else two).append(rate(server, sent, workers))
    report("ingest_two_workers", two, one, unit="results/s", goal=1.6, better="higher")


if __name__ == "__main__":
    main()
