"""A back-test on a standalone Spark with two workers of one core each, against one, on the same archive.

Results over seconds of the whole run, from the session's start to its end. Wants the extra ``spark`` and a Java. Of
80,000 results of one model, 7 s of processor time are the replay's, in Python, and 22 s are Java's, most of it for
starting; and a worker of one core keeps more than one busy. So on a machine with two cores, which Java and the driver
need as well, the ratio says little about the workers, and much about the cores.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks._delivery import report
from tests.models import tiny_bundle
from tests.monitor.backtest.cluster import cluster, on_loopback
from tests.monitor.backtest.samples import write_samples

STATIONS, SAMPLES, MODELS = 16, 40_000, 3
ROUNDS = 2
CORES = 4


def rate(archive: Path, bundles: tuple[str, ...], workers: int) -> float:
    """Results a second of one back-test."""
    from edge_sdk.monitor.backtest.pyspark import run_spark
    from edge_sdk.monitor.backtest.replay import Question

    question = Question(bundles=bundles, allow_unsigned=True)
    with tempfile.TemporaryDirectory() as directory, cluster(Path(directory), workers) as url:
        begun = time.perf_counter()
        tally = run_spark(question, str(archive), None, master=url, partitions=STATIONS)
        seconds = time.perf_counter() - begun
    assert tally.stations == STATIONS, tally.stations
    return tally.new.results / seconds


def main() -> None:
    if importlib.util.find_spec("pyspark") is None or shutil.which("java") is None:
        print("not measured: wants pip install 'edge-sdk[spark]' and a Java", file=sys.stderr)
        return
    cores = len(os.sched_getaffinity(0))
    if cores < CORES:
        print(f"{cores} cores; two workers want {CORES} or more: the ratio says little", file=sys.stderr)
    one: list[float] = []
    two: list[float] = []
    with tempfile.TemporaryDirectory() as directory, on_loopback():
        archive = Path(directory) / "samples"
        write_samples(archive, stations=STATIONS, samples=SAMPLES)
        paths = [Path(directory) / f"model-{number}.edge" for number in range(MODELS)]
        for number, path in enumerate(paths):
            tiny_bundle(path, name=f"model-{number}", seed=number)
        bundles = tuple(map(str, paths))
        for _ in range(ROUNDS):
            two.append(rate(archive, bundles, 2))
            one.append(rate(archive, bundles, 1))
            print(f"two {two[-1]:.0f}/s, one {one[-1]:.0f}/s", file=sys.stderr)
    report("backtest_two_workers", two, one, unit="results/s", goal=1.6, better="higher")


if __name__ == "__main__":
    main()
