"""The back-test on Spark says what it says in one process: in `local[2]`, and on a master with two workers."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("pyspark", reason="pyspark is not installed: pip install 'edge-sdk[spark]'")
if shutil.which("java") is None:
    pytest.skip("Java is not installed: apt-get install default-jre-headless", allow_module_level=True)

from edge_sdk.base.errors import ConfigError
from edge_sdk.monitor.archive import Archive, write_results
from edge_sdk.monitor.backtest.local import run_local
from edge_sdk.monitor.backtest.pyspark import run_spark
from edge_sdk.monitor.backtest.replay import Question
from tests.monitor.backtest.cluster import cluster, on_loopback
from tests.monitor.backtest.samples import in_blocks, write_samples
from tests.monitor.backtest.test_local import question

NO_TRUTH: dict[str, int | float | None] = {"labelled": 0, "accuracy": None}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def python() -> Iterator[None]:
    """Workers run this interpreter, and nothing but loopback is used."""
    with on_loopback():
        yield


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


def test_blocks_of_samples_and_two_bundles_of_one_name_count_the_same(archive: Path, tmp_path: Path) -> None:
    in_blocks(archive / "samples", tmp_path / "blocks", 50)
    first, second = (question(tmp_path / str(seed), seed=seed, model=f"model-{seed}") for seed in (1, 2))
    both = replace(first, bundles=first.bundles + second.bundles, keys=first.keys + second.keys)

    spread = run_spark(both, str(tmp_path / "blocks"), None, master="local[2]")

    assert spread.report() == pytest.approx(run_local(both, Archive(str(archive / "samples"))).report() | NO_TRUTH)


def test_an_archive_that_spark_cannot_read_is_told_in_a_sentence(archive: Path, tmp_path: Path) -> None:
    new, _, deployed = asked(archive)

    with pytest.raises(ConfigError, match=r"cannot be read as Parquet: .*not exist"):
        run_spark(new, str(tmp_path / "nowhere"), None, master="local[1]")
    with pytest.raises(ConfigError, match="no column sensor, values"):
        run_spark(new, deployed, None, master="local[1]")
