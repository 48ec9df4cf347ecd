"""Two workers that share the messages and write one PostgreSQL, against one; results a second, receipts included.

Broker, database and publisher are on the same cores. How far those allow the goal is said by processor time: one worker
and the database's answers to it follow each other, in the main, so that is the least time of one; two take half of
theirs, but never less than what all the programs spend, divided by the cores.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from benchmarks._delivery import EPOCH, report, typical_result
from benchmarks._ingest import Publisher, broker, packet
from benchmarks._processor import commands, processor_s
from edge_sdk.contract.envelope import OutboxRow, encode_body, encode_result
from edge_sdk.monitor.store.place import open_store
from edge_sdk.monitor.store.reader import StoreReader
from tests.databases import RunningPostgres, postgres

STATIONS = 200
RESULTS = 40_000
ROUNDS = 5
GOAL = 1.6


class Spent(NamedTuple):
    """Processor seconds of one round."""

    workers: float
    database: float
    broker: float
    publisher: float


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


def measure(server: RunningPostgres, sent: bytes, workers: int) -> tuple[float, Spent]:
    """Results a second from the first that is published to the last that is stored, and what it took."""
    url = server.new_database()
    open_store(url).close()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        running = stack.enter_context(broker())
        config = directory / "monitor.yaml"
        config.write_text(f'database: "{url}"\nbroker: {{url: "{running.url}"}}\ningest: {{share: bench}}\n')
        pids = []
        for number in range(workers):
            ready = directory / f"{number}.json"
            command = ["monitor", "worker", f"w{number}", str(config), "--ready-file", str(ready)]
            process = subprocess.Popen(
                [sys.executable, "-m", "edge_sdk.cli", *command], stderr=(directory / f"{number}.log").open("wb")
            )
            pids.append(process.pid)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            while b"ingest is subscribed" not in (directory / f"{number}.log").read_bytes():
                time.sleep(0.05)
        reader = stack.enter_context(StoreReader(url))
        publisher = Publisher(running.port)

        def spent() -> Spent:
            place = str(server.directory)
            servers = [pid for pid, words in commands() if "-k " + place in words]
            return Spent(
                sum(map(processor_s, pids)),
                sum(map(processor_s, servers)),
                processor_s(running.pid),
                time.process_time(),
            )

        before = spent()
        begun = time.perf_counter()
        publisher.send(sent)
        while reader.counters().results < RESULTS:
            assert time.perf_counter() - begun < 180, reader.counters()
            time.sleep(0.05)
        seconds = time.perf_counter() - begun
        after = spent()
        publisher.close()
        return RESULTS / seconds, Spent(*(now - then for now, then in zip(after, before, strict=True)))


def allowed(one: Spent, two: Spent, cores: float) -> float:
    """How many times as quick two can be as one, on so many cores."""
    alone = max(one.workers + one.database, sum(one) / cores)
    return alone / max((two.workers + two.database) / 2, sum(two) / cores)


def main() -> None:
    cores = len(os.sched_getaffinity(0))
    sent = packets()
    rates: dict[int, list[float]] = {1: [], 2: []}
    costs: dict[int, list[Spent]] = {1: [], 2: []}
    with postgres() as server:
        for number in range(ROUNDS):
            for workers in (1, 2) if number % 2 else (2, 1):
                rate, spent = measure(server, sent, workers)
                rates[workers].append(rate)
                costs[workers].append(spent)
    one, two = (Spent(*map(statistics.median, zip(*costs[workers], strict=True))) for workers in (1, 2))
    for name, spent in (("one", one), ("two", two)):
        parts = ", ".join(f"{what} {seconds:.2f}" for what, seconds in spent._asdict().items())
        print(f"{name}: processor seconds for {RESULTS} results: {parts}", file=sys.stderr)
    for number in sorted({cores, 2, 3, 4}):
        verdict = "enough" if allowed(one, two, number) >= GOAL else "not enough"
        print(
            f"{number} cores allow {allowed(one, two, number):.2f} times: {verdict} for {GOAL}"
            + (" (this machine)" if number == cores else ""),
            file=sys.stderr,
        )
    report("ingest_two_workers", rates[2], rates[1], unit="results/s", goal=GOAL, better="higher")


if __name__ == "__main__":
    main()
