"""A back-test on a standalone Spark with two workers, against one worker, on the same archive.

A worker is a machine of one core here: it runs one task at a time; it, its executor with Java's own threads (compiler,
collector) and its Python are pinned to one core, so that a single worker cannot borrow the other's. Both clusters stand
all the time, with a driver each; rounds alternate between them. What is timed is a back-test in a session that has run
one before: Java has compiled what it will. Twice: three small models of one sensor, thousands of results a second; and
an int8 MobileNetV2 on pictures. Wants the extra ``spark`` and a Java.
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
from tests.models import tiny_bundle
from tests.monitor.backtest.cluster import cluster, on_loopback
from tests.monitor.backtest.samples import START_NS, write_samples

STATIONS = 8
SAMPLES, MODELS = 8_000, 3
PICTURES = 24
ROUNDS = 5


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
            "values": pa.array([one.reshape(PIXELS, 3).tolist() for one in shown], pa.list_(pa.list_(pa.float32()))),
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
        tally = run_spark(question, archive, None, master=master, partitions=STATIONS)
        assert tally.stations == STATIONS, tally.stations
        print(tally.new.results, time.perf_counter() - begun, flush=True)
    session.stop()


class Driver:
    """A program that has a session with its own cluster, and waits."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def rate(self) -> float:
        """Results a second of one back-test."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        results, seconds = self._process.stdout.readline().split()
        return int(results) / float(seconds)


@contextmanager
def driver(directory: Path, workers: int, archive: Path, bundles: list[Path]) -> Iterator[Driver]:
    """A cluster with a driver."""
    directory.mkdir()
    with cluster(directory, workers, is_pinned=True) as url, (directory / "driver.log").open("wb") as log:
        command = [sys.executable, "-m", "benchmarks.backtest_two_workers", url, str(archive), *map(str, bundles)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True) as process:
            yield Driver(process)


def measure(name: str, directory: Path, bundles: list[Path]) -> None:
    """Rounds that alternate, after one of each that is not counted."""
    one: list[float] = []
    two: list[float] = []
    with ExitStack() as stack:
        alone, both = (
            stack.enter_context(driver(directory / f"of-{workers}", workers, directory / "samples", bundles))
            for workers in (1, 2)
        )
        for _ in range(ROUNDS + 1):
            two.append(both.rate())
            one.append(alone.rate())
            print(f"two {two[-1]:.0f}/s, one {one[-1]:.0f}/s, {two[-1] / one[-1]:.2f}", file=sys.stderr)
    report(name, two[1:], one[1:], unit="results/s", goal=1.6, better="higher")


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
