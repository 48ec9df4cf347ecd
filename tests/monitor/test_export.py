"""Stored results as files."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import json
from datetime import datetime, timezone
from pathlib import Path

import pytest

from edge_sdk.base.errors import ConfigError, MissingExtraError
from edge_sdk.monitor.export import COLUMNS, export_results
from edge_sdk.monitor.store.reader import StoreReader
from edge_sdk.monitor.store.sqlite import SqliteStore
from edge_sdk.monitor.verify import verify_all
from tests.monitor.talk import Talker

GATE = Talker(start=datetime(2026, 11, 20, 23, 59, 50, tzinfo=timezone.utc))  # results 1 to 9 before midnight
PIER = Talker(site="harbour", station="pier", epoch="9f3c00000000aa02", start=GATE.start)


@pytest.fixture
def reader(tmp_path: Path) -> StoreReader:
    store = SqliteStore(tmp_path / "monitor.db")
    store.commit(verify_all([GATE.pack(range(1, 21)), PIER.pack([1])], max_payload_bytes=1 << 20), now_ns=1)
    store.close()
    return StoreReader(tmp_path / "monitor.db")


def test_results_lie_by_site_and_day_each_once(reader: StoreReader, tmp_path: Path) -> None:
    assert export_results(reader.results(), tmp_path / "out") == 21

    files = sorted(file.relative_to(tmp_path / "out").as_posix() for file in (tmp_path / "out").rglob("*.gz"))
    assert files == [
        "site=harbour/day=2026-11-20/part-00000.jsonl.gz",
        "site=north/day=2026-11-20/part-00000.jsonl.gz",
        "site=north/day=2026-11-21/part-00000.jsonl.gz",
    ]
    lines = gzip.decompress((tmp_path / "out" / files[1]).read_bytes()).splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["seq"] for row in rows] == list(range(1, 10))
    assert json.loads(rows[0]["body"])["label"] == rows[0]["label"] == "walk"
    reader.close()


def test_csv_has_the_same_columns(reader: StoreReader, tmp_path: Path) -> None:
    export_results(reader.results(site="harbour"), tmp_path / "out", format="csv")

    [file] = (tmp_path / "out").rglob("*.csv.gz")
    head, row = csv.reader(gzip.decompress(file.read_bytes()).decode().splitlines())
    assert tuple(head) == COLUMNS
    assert row[:5] == ["harbour", "pier", "activity", PIER.epoch, "1"]
    reader.close()


def test_a_directory_that_holds_something_is_left_alone(reader: StoreReader, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").touch()

    with pytest.raises(ConfigError, match="Give a new directory"):
        export_results(reader.results(), tmp_path / "out")
    reader.close()


def test_parquet_reads_back_or_says_what_to_install(reader: StoreReader, tmp_path: Path) -> None:
    if importlib.util.find_spec("pyarrow") is None:
        with pytest.raises(MissingExtraError, match=r"edge-sdk\[export\]"):
            export_results(reader.results(), tmp_path / "out", format="parquet")
    else:
        import pyarrow.parquet

        export_results(reader.results(), tmp_path / "out", format="parquet")
        table = pyarrow.parquet.read_table(tmp_path / "out")
        assert table.num_rows == 21
        assert set(table.column("site").to_pylist()) == {"north", "harbour"}
    reader.close()
