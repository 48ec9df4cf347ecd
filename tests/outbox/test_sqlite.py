"""What the outbox on disk promises beyond the one in memory."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from edge_sdk.base.clock import ClockState, ManualClock
from edge_sdk.base.errors import ConfigError, OutboxError
from edge_sdk.outbox.quota import Quota
from edge_sdk.outbox.sqlite import SqliteOutbox
from tests.outbox.test_outbox import needs_a_witness, receipt, result, seqs


def reopen(path: Path) -> SqliteOutbox:
    return SqliteOutbox.open(path, clock=ManualClock())


@needs_a_witness
def test_epoch_and_rows_outlive_the_process(tmp_path: Path) -> None:
    outbox = reopen(tmp_path / "deep" / "outbox.db")
    put = outbox.put([result(n) for n in range(5)])
    epoch = outbox.epoch
    outbox.close()

    outbox = reopen(tmp_path / "deep" / "outbox.db")

    assert outbox.epoch == epoch
    assert list(outbox.read(after=0, limit=10)) == put
    outbox.close()


def test_two_outboxes_have_two_epochs(tmp_path: Path) -> None:
    one, other = reopen(tmp_path / "a.db"), reopen(tmp_path / "b.db")

    assert one.epoch != other.epoch
    one.close()
    other.close()


def test_a_number_is_never_given_twice_even_when_every_row_was_forgotten(tmp_path: Path) -> None:
    outbox = reopen(tmp_path / "outbox.db")
    outbox.put([result(n) for n in range(5)])
    outbox.acknowledge(receipt(outbox, (1, 5)))
    outbox.close()

    outbox = reopen(tmp_path / "outbox.db")

    assert (outbox.stats().rows, outbox.stats().newest) == (0, 5)
    assert [row.seq for row in outbox.put([result(1)])] == [6]
    outbox.close()


def test_forgotten_rows_leave_the_file_with_the_next_put(tmp_path: Path) -> None:
    outbox = reopen(tmp_path / "outbox.db")
    outbox.put([result(n) for n in range(5)])
    outbox.acknowledge(receipt(outbox, (1, 2), (4, 4)))
    outbox.put([result(6)])

    with sqlite3.connect(tmp_path / "outbox.db") as other:
        assert other.execute("SELECT seq FROM results").fetchall() == [(3,), (5,), (6,)]
    outbox.close()


def test_gaps_in_a_file_are_learnt_by_reading(tmp_path: Path) -> None:
    outbox = reopen(tmp_path / "outbox.db")
    outbox.put([result(n) for n in range(10)])
    outbox.acknowledge(receipt(outbox, (2, 4), (7, 7)))
    outbox.close()

    outbox = reopen(tmp_path / "outbox.db")

    assert seqs(outbox, limit=2) == [1, 5]
    assert seqs(outbox) == [1, 5, 6, 8, 9, 10]
    assert outbox.stats().rows == 6
    outbox.close()


def test_the_count_of_dropped_results_outlives_the_process(tmp_path: Path) -> None:
    outbox = SqliteOutbox.open(tmp_path / "outbox.db", clock=ManualClock(), quota=Quota(bytes=200_000))
    for n in range(30):
        outbox.put([result(n, padding=1000) for _ in range(20)])
    dropped = outbox.stats().dropped
    outbox.close()

    outbox = reopen(tmp_path / "outbox.db")

    assert outbox.stats().dropped == dropped > 0
    outbox.close()


def test_a_second_process_is_kept_out(tmp_path: Path) -> None:
    outbox = reopen(tmp_path / "outbox.db")

    with pytest.raises(OutboxError, match="in use by another process"):
        reopen(tmp_path / "outbox.db")

    outbox.close()
    reopen(tmp_path / "outbox.db").close()


def test_what_was_put_survives_kill_9(tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from tests.outbox.test_sqlite import reopen, result\n"
        "outbox = reopen(Path(sys.argv[1]))\n"
        "for n in range(7):\n"
        "    outbox.put([result(n)])\n"
        "os.kill(os.getpid(), 9)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path / "outbox.db")], check=False)

    assert ended.returncode == -9
    outbox = reopen(tmp_path / "outbox.db")
    assert seqs(outbox) == [1, 2, 3, 4, 5, 6, 7]
    outbox.close()


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    reopen(tmp_path / "outbox.db").close()
    with sqlite3.connect(tmp_path / "outbox.db") as other:
        other.execute("PRAGMA user_version = 99")

    with pytest.raises(OutboxError, match="schema version 99"):
        reopen(tmp_path / "outbox.db")


def test_a_quota_that_holds_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="quota is 1000 bytes"):
        Quota(bytes=1000)
    with pytest.raises(ConfigError, match="at least 2"):
        Quota(on_full="thin", keep_every=1)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("how", ["sound", "damaged"])
def test_a_file_of_an_older_version_is_brought_up_to_date(tmp_path: Path, how: str, version: int) -> None:
    """`old/version….db` were written by those versions: 13 results, of which 1 to 4 were receipted."""
    shutil.copy(Path(__file__).parent / "old" / f"version{version}.db", tmp_path / "version1.db")
    shutil.copy(Path(__file__).parent / "old" / f"version{version}.db.id", tmp_path / "version1.db.id")
    former = (tmp_path / "version1.db.id").read_text().split()[0]
    if how == "damaged":
        data = bytearray((tmp_path / "version1.db").read_bytes())
        data[100] = 0
        (tmp_path / "version1.db").write_bytes(data)

    outbox = reopen(tmp_path / "version1.db")

    assert (outbox.salvaged is None) == (how == "sound")
    assert outbox.epochs.of(13).id == former
    assert outbox.epoch != former, "nobody knows where the file has been"
    assert [row.seq for row in outbox.read(after=0, limit=100)][-9:] == [5, 6, 7, 8, 9, 10, 11, 12, 13]
    unsynced = msgspec.structs.replace(result(1), clock=ClockState.UNSYNCED)
    [fresh] = outbox.put([unsynced])
    assert fresh.seq > 13
    outbox.close()
    with sqlite3.connect(tmp_path / "version1.db") as other:
        assert other.execute("PRAGMA user_version").fetchone() == (3,)
        assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    outbox = reopen(tmp_path / "version1.db")
    assert seqs(outbox)[-1] == fresh.seq
    outbox.close()


def test_what_was_receipted_is_not_sent_again_by_the_next_process(tmp_path: Path) -> None:
    quota = Quota(keep_after_receipt_s=600.0)
    outbox = SqliteOutbox.open(tmp_path / "outbox.db", clock=ManualClock(), quota=quota)
    outbox.put([result(n) for n in range(10)])
    outbox.acknowledge(receipt(outbox, (1, 3), (5, 10)))
    outbox.close()

    clock = ManualClock()
    outbox = SqliteOutbox.open(tmp_path / "outbox.db", clock=clock, quota=quota)

    assert seqs(outbox) == [4]
    assert outbox.stats().kept == 9
    clock.advance(11)
    assert list(outbox.again(receipt(outbox, (1, 8)))) == [(9, 10)]
    outbox.close()


@needs_a_witness
def test_a_flipped_bit_among_the_files_own_numbers_loses_no_row(tmp_path: Path) -> None:
    outbox = SqliteOutbox.open(tmp_path / "outbox.db", clock=ManualClock(), quota=Quota(keep_after_receipt_s=600.0))
    epoch = outbox.epoch
    outbox.put([result(n) for n in range(10)])
    outbox.acknowledge(receipt(outbox, (1, 3)))
    outbox.close()
    with sqlite3.connect(tmp_path / "outbox.db") as other:
        other.execute("UPDATE meta SET value = replace(value, '[[1,3]]', '[[1,7]]') WHERE key = 'receipted'")
        other.execute("UPDATE meta SET value = 'x' WHERE key IN ('dropped', 'damaged')")
        other.execute("UPDATE meta SET value = replace(value, ?, 'f') WHERE key = 'epochs'", (epoch[:4],))

    outbox = reopen(tmp_path / "outbox.db")

    assert outbox.epoch == epoch
    assert seqs(outbox) == list(range(1, 11))
    outbox.close()
