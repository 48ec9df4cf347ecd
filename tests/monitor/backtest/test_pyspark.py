"""The back-test on Spark says what it says in one process: in `local[2]`, and on a master with two workers."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("pyspark", reason="pyspark is not installed: pip install 'edge-sdk[spark]'")
if shutil.which("java") is None:
    pytest.skip("Java is not installed: apt-get install default-jre-headless", allow_module_level=True)

from edge_sdk.monitor.archive import Archive, write_results
from edge_sdk.monitor.backtest.local import run_local
from edge_sdk.monitor.backtest.pyspark import run_spark
from edge_sdk.monitor.backtest.replay import Question
from tests.brokers import free_port
from tests.monitor.backtest.samples import write_samples
from tests.monitor.backtest.test_local import question

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def python() -> Iterator[None]:
    """Workers run this interpreter, and nothing but loopback is used."""
    before = dict(os.environ)
    os.environ |= {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_NO_DAEMONIZE": "1"}
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("archive")
    write_samples(directory / "samples", stations=6, samples=400, noise=0.1)
    old = question(directory, seed=9, name="old.edge")
    run_local(
        old,
        Archive(str(directory / "samples")),
        keep=lambda found: write_results(directory / "deployed" / "part.parquet", found),
    )
    return directory


@contextlib.contextmanager
def cluster(directory: Path, workers: int = 2, cores: int = 1) -> Iterator[str]:
    """A standalone master and its workers, on loopback."""
    import pyspark

    home = Path(pyspark.__file__).parent
    port = free_port()
    url = f"spark://127.0.0.1:{port}"
    spark_class = str(home / "bin" / "spark-class")
    environment = {**os.environ, "SPARK_HOME": str(home), "SPARK_PUBLIC_DNS": "127.0.0.1"}
    master = ["org.apache.spark.deploy.master.Master", "--host", "127.0.0.1", "--port", str(port)]
    one = ["org.apache.spark.deploy.worker.Worker", "--host", "127.0.0.1", "--cores", str(cores), "--memory", "1g"]
    with contextlib.ExitStack() as stack:

        def start(name: str, *command: str) -> Path:
            log = directory / f"{name}.log"
            file = stack.enter_context(log.open("wb"))
            process = subprocess.Popen([spark_class, *command], env=environment, stdout=file, stderr=file)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            return log

        logs = [start("master", *master, "--webui-port", "0")]
        _until(lambda: b"Starting Spark master" in logs[0].read_bytes(), logs)
        for number in range(workers):
            place = ["--webui-port", "0", "--work-dir", str(directory / f"work-{number}")]
            logs.append(start(f"worker-{number}", *one, *place, url))
        _until(lambda: logs[0].read_bytes().count(b"Registering worker") == workers, logs)
        yield url


def _until(is_so: object, logs: list[Path]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():  # type: ignore[operator]
        assert time.monotonic() < deadline, "\n".join(log.read_text(errors="replace")[-2000:] for log in logs)
        time.sleep(0.1)


def asked(archive: Path) -> tuple[Question, str, str]:
    return (
        question(archive, name=f"new-{time.monotonic_ns()}.edge"),
        str(archive / "samples"),
        str(archive / "deployed"),
    )


def test_two_local_cores_count_what_one_process_counts(archive: Path, tmp_path: Path) -> None:
    new, samples, deployed = asked(archive)

    spread = run_spark(new, samples, deployed, master="local[2]", keep=tmp_path / "kept")

    alone = run_local(new, Archive(samples, deployed))
    assert spread.report() == pytest.approx(alone.report())
    assert spread.new.labels == alone.new.labels
    import pyarrow.dataset

    assert pyarrow.dataset.dataset(tmp_path / "kept").count_rows() == alone.new.results


def test_a_master_with_two_workers_counts_what_one_process_counts(archive: Path, tmp_path: Path) -> None:
    new, samples, deployed = asked(archive)
    with cluster(tmp_path) as url:
        spread = run_spark(new, samples, deployed, master=url)

    assert spread.report() == pytest.approx(run_local(new, Archive(samples, deployed)).report())
