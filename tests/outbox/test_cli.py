"""`edge-sdk outbox` on a real file."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge_sdk.base.clock import ManualClock
from edge_sdk.base.errors import OutboxError
from edge_sdk.outbox.cli import outbox
from edge_sdk.outbox.sqlite import SqliteOutbox
from tests.outbox.test_outbox import receipt, result


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(outbox, [str(one) for one in arguments], catch_exceptions=False)


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    path = tmp_path / "outbox.db"
    with closing(SqliteOutbox.open(path, clock=ManualClock())) as box:
        box.put([result(n) for n in range(10)])
        box.acknowledge(receipt(box, (1, 4)))
    return path


def bodies_of(path: Path) -> list[bytes]:
    with closing(SqliteOutbox.open(path, clock=ManualClock())) as box:
        return [row.body for row in box.read(after=0, limit=100)]


def test_stats_says_what_waits(filled: Path) -> None:
    numbers = json.loads(run("stats", filled, "--json", "-").stdout)

    assert (numbers["rows"], numbers["oldest"], numbers["newest"], numbers["identity"]) == (6, 5, 10, "sound")


def test_a_card_lives_longer_when_results_share_commits(filled: Path) -> None:
    alone = json.loads(run("stats", filled, "--results-per-s", "1", "--json", "-").stdout)
    shared = json.loads(
        run("stats", filled, "--results-per-s", "1", "--results-per-commit", "100", "--json", "-").stdout
    )

    assert alone["written_bytes_per_result"] > 7000
    assert alone["written_bytes_per_day"] == pytest.approx(86_400 * alone["written_bytes_per_result"], rel=0.01)
    assert shared["card_life_years"] > 5 * alone["card_life_years"] > 5


def test_stats_can_be_read_while_the_station_runs(tmp_path: Path) -> None:
    with closing(SqliteOutbox.open(tmp_path / "outbox.db", clock=ManualClock())) as box:
        box.put([result(1)])

        assert "rows" in run("stats", tmp_path / "outbox.db").stdout


def test_peek_prints_the_oldest_as_json_lines(filled: Path) -> None:
    lines = run("peek", filled, "--limit", "2").stdout.splitlines()

    assert [json.loads(line)["seq"] for line in lines] == [5, 6]


def test_what_is_exported_can_be_imported_elsewhere(filled: Path, tmp_path: Path) -> None:
    run("export", filled, "-o", tmp_path / "results.jsonl")
    with (tmp_path / "results.jsonl").open("ab") as file:
        file.write(b"{nonsense\n")

    answer = json.loads(run("import", tmp_path / "new.db", tmp_path / "results.jsonl", "--json", "-").stdout)

    assert answer == {"imported": 6, "unreadable": 1}
    assert bodies_of(tmp_path / "new.db") == bodies_of(filled)


def test_a_damaged_outbox_is_not_read_and_the_cure_is_named(filled: Path) -> None:
    with filled.open("r+b") as file:
        file.seek(4096)
        file.write(b"garbage" * 100)

    with pytest.raises(OutboxError, match="saves what can be read when it starts"):
        run("stats", filled)


def test_a_file_that_is_no_outbox_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("hello")

    with pytest.raises(OutboxError, match="Is it an outbox"):
        run("stats", tmp_path / "other")
