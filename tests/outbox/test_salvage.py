"""A damaged outbox starts, saves what can be read, and never gives a number twice."""

from __future__ import annotations

import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from edge_sdk.base.clock import ManualClock
from edge_sdk.contract.envelope import OutboxRow
from edge_sdk.outbox.identity import identity_path, read_identity
from edge_sdk.outbox.salvage import salvage
from edge_sdk.outbox.sqlite import SqliteOutbox
from tests.outbox.test_outbox import needs_a_witness, receipt, result

ROWS = 300


def reopen(path: Path) -> SqliteOutbox:
    return SqliteOutbox.open(path, clock=ManualClock())


def image(directory: Path, *, checkpointed: bool) -> tuple[Path, dict[int, OutboxRow]]:
    """The files of a station that was killed: some rows receipted, in the file itself or still in its log."""
    path = directory / "living" / "outbox.db"
    outbox = reopen(path)
    put = {}
    for start in range(0, ROWS, 10):
        for row in outbox.put([result(start + n, padding=200) for n in range(10)]):
            put[row.seq] = row
        if start == 100:
            outbox.acknowledge(receipt(outbox, (1, 40), (51, 60)))
    if checkpointed:
        with sqlite3.connect(path) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.close()
    shutil.copytree(path.parent, directory / "image")
    outbox.close()
    held = {seq: row for seq, row in put.items() if seq > 60 or 40 < seq < 51}
    return directory / "image" / "outbox.db", held


def damage(path: Path, rng: random.Random) -> str:
    """Truncate or flip bits of the file or its log."""
    targets = [one for one in (path, path.with_name("outbox.db-wal")) if one.exists() and one.stat().st_size]
    target = rng.choice(targets)
    data = bytearray(target.read_bytes())
    if rng.random() < 0.3:
        size = rng.randrange(len(data))
        target.write_bytes(data[:size])
        return f"{target.name} truncated to {size} of {len(data)}"
    places = [rng.randrange(len(data)) for _ in range(rng.choice((1, 1, 2, 10, 200)))]
    for place in places:
        data[place] ^= 1 << rng.randrange(8)
    target.write_bytes(data)
    return f"{target.name} flipped at {places[:5]}"


def survive(directory: Path, seed: int, *, checkpointed: bool) -> int:
    """Damage an image, open it, and check what must hold; returns how many rows were lost."""
    rng = random.Random(seed)
    path, held = image(directory, checkpointed=checkpointed)
    what = damage(path, rng)

    outbox = reopen(path)
    try:
        rows = {row.seq: row for row in outbox.read(after=0, limit=10_000)}
        for seq, row in rows.items():
            assert seq <= 60 or row == held[seq], f"seed {seed}, {what}: row {seq} changed"
        lost = held.keys() - rows.keys()
        stats = outbox.stats()
        found_out = outbox.salvaged is not None or stats.damaged > 0
        tail = "wal" in what  # a log that ends early looks like one that was never written further
        assert not lost or found_out or tail, f"seed {seed}, {what}: lost {len(lost)} without a word"
        [fresh] = outbox.put([result(1)])
        if found_out:
            assert fresh.seq > ROWS, f"seed {seed}, {what}: number {fresh.seq} was given twice"
    finally:
        outbox.close()
    again = reopen(path)
    assert again.salvaged is None
    assert fresh.seq in {row.seq for row in again.read(after=0, limit=10_000)}
    again.close()
    return len(lost)


@pytest.mark.parametrize("checkpointed", [True, False])
def test_a_damaged_outbox_starts_and_saves_what_can_be_read(tmp_path: Path, checkpointed: bool) -> None:
    seeds = random.SystemRandom().sample(range(1 << 32), 8)
    lost = [survive(tmp_path / str(seed), seed, checkpointed=checkpointed) for seed in seeds]

    assert sum(lost) < ROWS * len(seeds) * 0.5


@pytest.mark.slow
def test_the_long_form_of_damage(tmp_path: Path) -> None:
    lost = [survive(tmp_path / str(seed), seed, checkpointed=seed % 2 == 0) for seed in range(300)]
    print(f"300 damaged outboxes: {sum(lost)} of {300 * (ROWS - 50)} rows lost, none in {lost.count(0)} of them")


def test_a_sound_file_is_read_whole_page_by_page(tmp_path: Path) -> None:
    for checkpointed in (True, False):
        path, held = image(tmp_path / str(checkpointed), checkpointed=checkpointed)

        found = salvage(path, 4096)

        assert {seq: found.rows[seq] for seq in held} == held
        assert found.damaged == 0


@needs_a_witness
@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_a_file_of_zeros_goes_on_above_every_number_given_and_in_its_epoch_where_it_was(
    tmp_path: Path, where: str
) -> None:
    path, _ = image(tmp_path, checkpointed=True)
    if where == "here":
        path = tmp_path / "living" / "outbox.db"
    path.write_bytes(bytes(path.stat().st_size))
    identity = read_identity(path)
    assert identity is not None

    outbox = reopen(path)

    assert (outbox.epoch == identity.epochs[-1][1]) == (where == "here")
    assert outbox.stats().rows == 0
    assert outbox.put([result(1)])[0].seq > ROWS
    assert path.with_name("outbox.db.damaged").exists()
    outbox.close()


def test_without_its_identity_a_damaged_file_begins_a_new_epoch_with_its_rows(tmp_path: Path) -> None:
    path, held = image(tmp_path, checkpointed=True)
    identity = read_identity(path)
    assert identity is not None
    identity_path(path).unlink()
    data = bytearray(path.read_bytes())
    data[:100] = bytes(100)
    path.write_bytes(data)

    outbox = reopen(path)

    assert identity.epochs[-1] not in outbox.epochs.beginnings
    assert {row.body for row in held.values()} <= {row.body for row in outbox.read(after=0, limit=10_000)}
    outbox.close()


def test_a_row_whose_bits_flipped_is_left_out_and_counted_once(tmp_path: Path) -> None:
    path, held = image(tmp_path, checkpointed=True)
    data = path.read_bytes()
    place = data.index(held[200].body) + 30
    path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])

    outbox = reopen(path)
    seqs = {row.seq for row in outbox.read(after=0, limit=10_000)}
    assert seqs == held.keys() - {200}
    assert outbox.stats().damaged == 1
    outbox.put([result(1)])
    outbox.close()

    outbox = reopen(path)
    outbox.read(after=0, limit=10_000)
    assert outbox.stats().damaged == 1
    outbox.close()


def test_a_deleted_file_goes_on_in_its_epoch_above_every_number_given(tmp_path: Path) -> None:
    path, _ = image(tmp_path, checkpointed=True)
    path.unlink()

    outbox = reopen(path)

    assert outbox.put([result(1)])[0].seq > ROWS
    outbox.close()
