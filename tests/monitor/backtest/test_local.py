"""The back-test in this process: the new bundle is judged as a station would run it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("pyarrow")

import pyarrow.parquet

from edge_sdk.base.errors import ConfigError, TrustError
from edge_sdk.contract.trust import SigningKey
from edge_sdk.monitor.archive import Archive, rows_of, write_results
from edge_sdk.monitor.backtest.local import run_local
from edge_sdk.monitor.backtest.replay import Bench, Question, Replay
from tests.models import tiny_bundle
from tests.monitor.backtest.samples import in_blocks, write_samples


def question(directory: Path, *, seed: int = 0, name: str = "new.edge", model: str = "tiny") -> Question:
    key = SigningKey.new()
    directory.mkdir(exist_ok=True)
    tiny_bundle(directory / name, name=model, seed=seed, key=key)
    return Question(bundles=(str(directory / name),), keys=(key.public.text,))


def test_the_model_that_made_the_truth_is_right_always_and_another_is_not(tmp_path: Path) -> None:
    made = write_samples(tmp_path / "samples", stations=4, samples=200)
    archive = Archive(str(tmp_path / "samples"))

    right = run_local(question(tmp_path), archive).report()
    other = run_local(question(tmp_path, seed=9, name="other.edge"), archive).report()

    assert right["stations"] == 4
    assert right["results"] == right["labelled"] == made["windows"]
    assert right["accuracy"] == 1.0
    assert right["compared"] == 0
    assert other["accuracy"] is not None
    assert other["accuracy"] < 0.8


def test_a_bundle_agrees_with_itself_and_says_how_far_another_has_drifted(tmp_path: Path) -> None:
    write_samples(tmp_path / "samples", stations=3, samples=300, noise=0.1)
    old = question(tmp_path, seed=9, name="old.edge")
    alone = Archive(str(tmp_path / "samples"))
    run_local(old, alone, keep=lambda found: write_results(tmp_path / "deployed" / "part.parquet", found))
    beside = Archive(str(tmp_path / "samples"), str(tmp_path / "deployed"))

    same = run_local(old, beside).report()
    new = run_local(question(tmp_path), beside).report()

    assert (same["agreement"], same["label_drift_psi"], same["confidence_drift_ks"]) == (1.0, 0.0, 0.0)
    assert same["compared"] == same["results"] == same["deployed_results"]
    assert same["accuracy"] == same["deployed_accuracy"] == new["deployed_accuracy"]
    assert new["accuracy"] == pytest.approx(0.9, abs=0.05)
    assert new["agreement"] is not None
    assert new["agreement"] < 0.8


def test_rows_that_are_blocks_of_samples_give_the_same_results(tmp_path: Path) -> None:
    write_samples(tmp_path / "samples", stations=3, samples=201)
    in_blocks(tmp_path / "samples", tmp_path / "blocks", 50)
    asked = question(tmp_path)

    single = run_local(asked, Archive(str(tmp_path / "samples"))).new
    blocks = run_local(asked, Archive(str(tmp_path / "blocks"))).new

    assert blocks.labels == single.labels
    assert blocks.confidence == single.confidence


def test_however_rows_are_cut_and_mixed_a_station_gives_the_same_results(tmp_path: Path) -> None:
    write_samples(tmp_path / "samples", stations=1, samples=300)
    bench = Bench(question(tmp_path))
    table = pyarrow.parquet.read_table(tmp_path / "samples")
    [whole] = replayed(bench, [table.take(np.random.default_rng(1).permutation(len(table)))])

    for step in (1, 7, 100):
        assert replayed(bench, [table.slice(at, step) for at in range(0, len(table), step)]) == [whole]


def replayed(bench: Bench, tables: list[Any]) -> list[bytes]:
    replay = Replay(bench)
    said = [one for table in tables for one in replay.feed(rows_of(table))]
    said.extend(replay.finish())
    assert len(said) == replay.tally.new.results
    return [msgspec.json.encode([said, replay.tally])]


def test_an_archive_without_the_wanted_columns_says_which(tmp_path: Path) -> None:
    write_samples(tmp_path / "samples", stations=1, samples=50)
    run_local(
        question(tmp_path),
        Archive(str(tmp_path / "samples")),
        keep=lambda found: write_results(tmp_path / "results" / "part.parquet", found),
    )

    with pytest.raises(ConfigError, match="no column sensor, values"):
        Archive(str(tmp_path / "results"))


def test_rows_without_a_site_are_a_site_of_their_own_and_rows_without_a_station_are_refused(tmp_path: Path) -> None:
    write_samples(tmp_path / "samples", stations=1, samples=200)
    [file] = (tmp_path / "samples").rglob("*.parquet")
    table = pyarrow.parquet.ParquetFile(file).read()
    both = tmp_path / "both.parquet"

    def write(**columns: str | None) -> None:
        found = [
            table.append_column("site", pyarrow.array([site] * len(table), pyarrow.string())) for site in ("hall", None)
        ]
        for name, value in columns.items():
            values = pyarrow.array([value] * len(table), pyarrow.string())
            found[1] = found[1].set_column(found[1].schema.get_field_index(name), name, values)
        pyarrow.parquet.write_table(pyarrow.concat_tables(found), both)

    write()
    assert Archive(str(both)).stations() == [("", "s0"), ("hall", "s0")]
    once = run_local(question(tmp_path), Archive(str(tmp_path / "samples"))).report()
    assert run_local(question(tmp_path), Archive(str(both))).report() == once | {
        name: 2 * (once[name] or 0) for name in ("stations", "results", "labelled")
    }

    write(station=None)
    with pytest.raises(ConfigError, match="no station"):
        run_local(question(tmp_path), Archive(str(both)))


def test_a_bundle_that_nobody_trusted_signed_is_refused(tmp_path: Path) -> None:
    write_samples(tmp_path / "samples", stations=1, samples=50)
    asked = question(tmp_path)

    with pytest.raises(TrustError):
        run_local(Question(bundles=asked.bundles), Archive(str(tmp_path / "samples")))


def test_the_command_prints_what_was_found(tmp_path: Path) -> None:
    write_samples(tmp_path / "samples", stations=2, samples=100)
    tiny_bundle(tmp_path / "new.edge")
    command = [sys.executable, "-m", "edge_sdk.cli", "monitor", "backtest", "--bundle", "new.edge", "--allow-unsigned"]

    done = subprocess.run(
        [*command, "--data", "samples", "--out", "kept", "--json", "-"], cwd=tmp_path, capture_output=True, check=True
    )

    assert json.loads(done.stdout)["accuracy"] == 1.0
    assert list((tmp_path / "kept").glob("*.parquet"))
