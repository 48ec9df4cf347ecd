"""A back-test on a standalone Spark with two workers, against one worker, on the same archive.

A worker is a machine of one core here: it runs one task at a time; it, its executor with Java's own threads (compiler,
collector) and its Python are pinned to one core, so that a single worker cannot borrow the other's. Both clusters stand
all the time, with a driver each; rounds alternate between them. What is timed is a back-test in a session that has run
two before: Java has compiled most of what it will. Twice: three small models of one sensor, thousands of results a
second; and an int8 MobileNetV2 on pictures. Wants the extra ``spark`` and a Java.

Each is told by the clock, which wants cores that nobody else uses, for the drivers too; and by the processor time of
the worker that had most to do: what two machines of one core would take, whoever else is busy on this one.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from benchmarks._delivery import report
from benchmarks._mobilenet import PIXELS, images, mobilenets
from benchmarks._processor import commands, processor_s
from tests.models import tiny_bundle
from tests.monitor.backtest.cluster import cluster, on_loopback
from tests.monitor.backtest.samples import START_NS, write_samples

STATIONS = 8
SAMPLES, MODELS = 60_000, 3
PICTURES = 120
WARM, ROUNDS = 2, 5


def small(directory: Path) -> list[Path]:
    """Samples and three small models of them."""
    write_samples(directory / "samples", stations=STATIONS, samples=SAMPLES)
    paths = [directory / f"model-{number}.edge" for number in range(MODELS)]
    for number, path in enumerate(paths):
        tiny_bundle(path, name=f"model-{number}", seed=number)
    return paths


def pictures(directory: Path) -> list[Path]:
    """A picture a second, a row each, and one large model."""
    import pyarrow as pa
    import pyarrow.parquet

    (directory / "samples").mkdir()
    for station in range(STATIONS):
        shown = (np.roll(images(PICTURES), station, axis=1) * 255).round() / np.float32(255)
        rows = {
            "station": [f"s{station}"] * PICTURES,
            "sensor": ["camera"] * PICTURES,
            "t": pa.array([START_NS + number * 10**9 for number in range(PICTURES)], pa.int64()),
            "rate_hz": [float(PIXELS)] * PICTURES,
            "values": pa.ListArray.from_arrays(
                np.arange(PICTURES + 1) * PIXELS,
                pa.ListArray.from_arrays(np.arange(PICTURES * PIXELS + 1) * 3, shown.reshape(-1)),
            ),
        }
        pyarrow.parquet.write_table(pa.table(rows), directory / "samples" / f"{station}.parquet", row_group_size=10)
    mobilenets(directory, "camera")
    return [directory / "camera.edge"]


def drive(master: str, archive: str, *bundles: str) -> None:
    """A driver: each line that it is given is a back-test; says results and seconds."""
    from pyspark.sql import SparkSession

    from edge_sdk.monitor.backtest.pyspark import run_spark
    from edge_sdk.monitor.backtest.replay import Question

    session = SparkSession.builder.master(master).config("spark.ui.enabled", "false").getOrCreate()
    question = Question(bundles=bundles, allow_unsigned=True)
    for _ in sys.stdin:
        begun = time.perf_counter()
        tally = run_spark(question, archive, None, master=master)
        assert tally.stations == STATIONS, tally.stations
        print(tally.new.results, time.perf_counter() - begun, flush=True)
    session.stop()


class Driver:
    """A program that has a session with its own cluster, and waits."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self._process = process
        self._workers = [pid for pid, words in commands() if ".worker.Worker" in words and url in words]

    def run(self) -> tuple[float, float]:
        """One back-test: results a second, and results a processor second of the worker that had most to do."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        before = [processor_s(pid) for pid in self._workers]
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        results, seconds = self._process.stdout.readline().split()
        spent = [processor_s(pid) - one for pid, one in zip(self._workers, before, strict=True)]
        return int(results) / float(seconds), int(results) / max(spent)


@contextmanager
def driver(directory: Path, workers: int, archive: Path, bundles: list[Path]) -> Iterator[Driver]:
    """A cluster with a driver."""
    directory.mkdir()
    with cluster(directory, workers, is_pinned=True) as url, (directory / "driver.log").open("wb") as log:
        command = [sys.executable, "-m", "benchmarks.backtest_two_workers", url, str(archive), *map(str, bundles)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True) as process:
            yield Driver(process, url)


def measure(name: str, directory: Path, bundles: list[Path]) -> None:
    """Rounds that alternate, after some of each that are not counted."""
    one: list[tuple[float, float]] = []
    two: list[tuple[float, float]] = []
    with ExitStack() as stack:
        alone, both = (
            stack.enter_context(driver(directory / f"of-{workers}", workers, directory / "samples", bundles))
            for workers in (1, 2)
        )
        for _ in range(WARM + ROUNDS):
            two.append(both.run())
            one.append(alone.run())
            (a, a_cpu), (b, b_cpu) = two[-1], one[-1]
            print(
                f"two {a:.0f}/s, one {b:.0f}/s, {a / b:.2f}; by processor time {a_cpu:.0f}/s, {b_cpu:.0f}/s,"
                f" {a_cpu / b_cpu:.2f}",
                file=sys.stderr,
                flush=True,
            )
    for what, unit, place in (("", "results/s", 0), ("_cpu", "results/processor s of the busier worker", 1)):
        report(
            name + what,
            [pair[place] for pair in two[WARM:]],
            [pair[place] for pair in one[WARM:]],
            unit=unit,
            goal=1.6,
            better="higher",
        )


def main() -> None:
    if importlib.util.find_spec("pyspark") is None or shutil.which("java") is None:
        print("not measured: wants pip install 'edge-sdk[spark]' and a Java", file=sys.stderr)
        return
    if len(os.sched_getaffinity(0)) < 2:
        print("not measured: two workers of a core each want two cores", file=sys.stderr)
        return
    for name, prepare in (("backtest_two_workers", small), ("backtest_two_workers_mobilenet", pictures)):
        with tempfile.TemporaryDirectory() as directory, on_loopback():
            measure(name, Path(directory), prepare(Path(directory)))


if __name__ == "__main__":
    drive(*sys.argv[1:]) if sys.argv[1:] else main()
