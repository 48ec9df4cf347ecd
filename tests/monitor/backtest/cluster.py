"""A standalone Spark of our own, on loopback: a master and its workers."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.brokers import free_port


@contextlib.contextmanager
def on_loopback() -> Iterator[None]:
    """Workers run this interpreter, and nothing but loopback is used."""
    before = dict(os.environ)
    os.environ |= {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_NO_DAEMONIZE": "1"}
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def cluster(directory: Path, workers: int = 2, cores: int = 1, *, is_pinned: bool = False) -> Iterator[str]:
    """A standalone master and its workers, on loopback.

    Args:
        directory: For logs and work.
        workers: How many.
        cores: Tasks at a time, of each worker.
        is_pinned: Each worker with all it starts, Java's own threads too, has one core of this machine and no other.
    """
    import pyspark

    home = Path(pyspark.__file__).parent
    port = free_port()
    url = f"spark://127.0.0.1:{port}"
    spark_class = str(home / "bin" / "spark-class")
    environment = {**os.environ, "SPARK_HOME": str(home), "SPARK_PUBLIC_DNS": "127.0.0.1"}
    master = ["org.apache.spark.deploy.master.Master", "--host", "127.0.0.1", "--port", str(port)]
    one = ["org.apache.spark.deploy.worker.Worker", "--host", "127.0.0.1", "--cores", str(cores), "--memory", "1g"]
    available = sorted(os.sched_getaffinity(0))
    with contextlib.ExitStack() as stack:

        def start(name: str, *command: str, before: Sequence[str] = ()) -> Path:
            log = directory / f"{name}.log"
            file = stack.enter_context(log.open("wb"))
            process = subprocess.Popen([*before, spark_class, *command], env=environment, stdout=file, stderr=file)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            return log

        logs = [start("master", *master, "--webui-port", "0")]
        _until(lambda: b"Starting Spark master" in logs[0].read_bytes(), logs)
        for number in range(workers):
            place = ["--webui-port", "0", "--work-dir", str(directory / f"work-{number}")]
            core = available[number % len(available)]
            before = ["taskset", "--cpu-list", str(core)] if is_pinned else []
            logs.append(start(f"worker-{number}", *one, *place, url, before=before))
        _until(lambda: logs[0].read_bytes().count(b"Registering worker") == workers, logs)
        yield url


def _until(is_so: Callable[[], bool], logs: list[Path]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline, "\n".join(log.read_text(errors="replace")[-2000:] for log in logs)
        time.sleep(0.1)
