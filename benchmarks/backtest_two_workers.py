"""A back-test on a standalone Spark with two workers of one core each, against one, on the same archive.

Results over seconds of the whole run, from the session's start to its end. Wants the extra ``spark`` and a Java. A
worker of one core keeps more than one busy: Python replays while the Java beside it reads and sorts. So on a machine
with two cores the ratio says little about the workers, and much about the cores.
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

STATIONS, SAMPLES = 16, 40_000
ROUNDS = 2
CORES = 4


def seconds(archive: Path, bundle: Path, workers: int, windows: int) -> float:
    """How long one back-test takes."""
    from edge_sdk.monitor.backtest.pyspark import run_spark
    from edge_sdk.monitor.backtest.replay import Question

    question = Question(bundles=(str(bundle),), allow_unsigned=True)
    with tempfile.TemporaryDirectory() as directory, cluster(Path(directory), workers) as url:
        begun = time.perf_counter()
        tally = run_spark(question, str(archive), None, master=url, partitions=STATIONS)
        took = time.perf_counter() - begun
    assert tally.new.results == windows, (tally.new.results, windows)
    return took


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
        archive, bundle = Path(directory) / "samples", Path(directory) / "tiny.edge"
        windows = write_samples(archive, stations=STATIONS, samples=SAMPLES)["windows"]
        tiny_bundle(bundle)
        for _ in range(ROUNDS):
            two.append(windows / seconds(archive, bundle, 2, windows))
            one.append(windows / seconds(archive, bundle, 1, windows))
            print(f"two {two[-1]:.0f}/s, one {one[-1]:.0f}/s", file=sys.stderr)
    report("backtest_two_workers", two, one, unit="results/s", goal=1.6, better="higher")


if __name__ == "__main__":
    main()
