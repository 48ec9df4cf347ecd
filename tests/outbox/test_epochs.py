"""Epochs: each row has one name, and no name is given twice, whatever images of a card are put back."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_sdk.base.clock import ManualClock
from edge_sdk.contract.receipt import Receipt
from edge_sdk.outbox.epochs import UNTOLD, Epochs
from edge_sdk.outbox.quota import Quota
from edge_sdk.outbox.sqlite import SqliteOutbox
from edge_sdk.outbox.witness import Witness
from tests.outbox.test_outbox import needs_a_witness, receipt, result

KEEPING = Quota(keep_after_receipt_s=600.0)


def reopen(path: Path, clock: ManualClock | None = None) -> SqliteOutbox:
    return SqliteOutbox.open(path, clock=clock or ManualClock(), quota=KEEPING)


def image(card: Path, to: Path) -> Path:
    shutil.copytree(card, to, dirs_exist_ok=True)
    return to / "outbox.db"


@settings(max_examples=200)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.integers(0, 3))
def test_every_row_has_one_name_and_the_way_back_is_its_row(lengths: list[int], oldest: int) -> None:
    epochs, newest = Epochs([(0, "e0")]), 0
    for length in lengths:
        newest += length
        epochs = epochs.renewed(newest, 1 + oldest)
    newest += 3
    names = {}
    for row in range(1 + oldest, newest + 1):
        epoch = epochs.of(row)
        number = row - epoch.before
        assert number >= 1
        assert epoch.rows([(number, number)]) == [(row, row)]
        assert epoch.numbers([(row, row)]) == [(number, number)]
        assert epochs.named(epoch.id) == epoch
        names[epoch.id, number] = row
    assert len(names) == newest - oldest
    assert epochs.of(newest) is epochs.current


@needs_a_witness
@settings(max_examples=25)
@given(st.lists(st.sampled_from(["put", "restart", "save", "put back", "kill"]), max_size=12))
def test_no_name_is_given_twice_whatever_image_is_put_back(tmp_path_factory: object, steps: list[str]) -> None:
    directory: Path = tmp_path_factory.mktemp("card")  # type: ignore[attr-defined]
    card = directory / "card"
    outbox = reopen(card / "outbox.db")
    given, made, saved = set[tuple[str, int]](), 0, 0
    for step in steps:
        if step == "put":
            for row in outbox.put([result(made), result(made)]):
                epoch = outbox.epochs.of(row.seq)
                name = (epoch.id, row.seq - epoch.before)
                assert name not in given
                given.add(name)
            made += 1
        elif step == "save":  # while it runs: some commits are in the log, or not yet
            image(card, directory / "image")
            saved += 1
        elif step == "put back" and saved:
            outbox.close()
            shutil.rmtree(card)
            image(directory / "image", card)
            outbox = reopen(card / "outbox.db")
        elif step == "restart":
            outbox.close()
            before, outbox = outbox, reopen(card / "outbox.db")
            assert outbox.epoch == before.epoch, "the machine has seen it all"
        elif step == "kill":  # without a word: what is open stays as it is
            image(card, directory / "killed")
            outbox.close()
            shutil.rmtree(card)
            image(directory / "killed", card)
            outbox = reopen(card / "outbox.db")
    outbox.close()


def test_an_old_image_begins_an_epoch_and_its_waiting_rows_keep_their_names(tmp_path: Path) -> None:
    with closing(reopen(tmp_path / "card" / "outbox.db")) as outbox:
        outbox.put([result(n) for n in range(5)])
        outbox.acknowledge(receipt(outbox, (1, 2)))
        old = outbox.epoch
        image(tmp_path / "card", tmp_path / "image")
        outbox.put([result(n) for n in range(3)])
    image(tmp_path / "image", tmp_path / "card")

    with closing(reopen(tmp_path / "card" / "outbox.db")) as outbox:
        [fresh] = outbox.put([result(9)])

        assert outbox.epoch != old
        names = [(outbox.epochs.of(row.seq).id, row.seq) for row in outbox.read(after=2, limit=10)]
        assert names == [(old, 3), (old, 4), (old, 5), (outbox.epoch, 6)]
        assert fresh.seq - outbox.epochs.current.before == 1
        assert outbox.stats().oldest == 1


def test_receipts_of_either_epoch_name_the_rows_of_that_one(tmp_path: Path) -> None:
    clock = ManualClock()
    with closing(reopen(tmp_path / "card" / "outbox.db")) as outbox:
        outbox.put([result(n) for n in range(5)])
        old = outbox.epoch
    path = image(tmp_path / "card", tmp_path / "clone")
    with closing(reopen(path, clock)) as outbox:
        outbox.put([result(n) for n in range(5)])

        assert outbox.acknowledge(Receipt(v=1, epoch=old, stored=((1, 3), (5, 90)))) == 4
        assert outbox.acknowledge(receipt(outbox, (2, 3))) == 2
        assert [row.seq for row in outbox.read(after=0, limit=10)] == [4, 6, 9, 10]
        assert outbox.put([result(1)])[0].seq == 11
        clock.advance(11)
        assert list(outbox.again(Receipt(v=1, epoch=old, stored=((1, 2),)))) == [(3, 3), (5, 5)]
        assert list(outbox.again(receipt(outbox))) == [(7, 8)]


def test_a_former_epoch_is_forgotten_when_the_monitor_knows_that_nothing_more_comes_of_it(tmp_path: Path) -> None:
    path = tmp_path / "0" / "outbox.db"
    with closing(SqliteOutbox.open(path, clock=ManualClock())) as outbox:
        outbox.put([result(n) for n in range(5)])
        outbox.acknowledge(receipt(outbox, (1, 5)))
        old = outbox.epoch
    path = image(path.parent, tmp_path / "1")
    with closing(SqliteOutbox.open(path, clock=ManualClock())) as outbox:
        assert [one.id for one in outbox.epochs.former] == [old]
        outbox.acknowledge(Receipt(v=1, epoch=old, stored=((1, 4),)))
        assert [one.id for one in outbox.epochs.former] == [old]
        outbox.acknowledge(Receipt(v=1, epoch=old, stored=((1, 5),)))
        assert not outbox.epochs.former
        outbox.put([result(1)])
        [row] = outbox.read(after=0, limit=10)
        assert (outbox.epochs.of(row.seq).id, row.seq - outbox.epochs.current.before) == (outbox.epoch, 1)
        new = outbox.epoch
    path = image(path.parent, tmp_path / "2")
    with closing(SqliteOutbox.open(path, clock=ManualClock())) as outbox:
        assert [one.id for one in outbox.epochs.former] == [new]


def test_a_new_outbox_says_that_it_is_new_and_speaks_of_no_former_epoch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "edge_sdk.outbox")
    reopen(tmp_path / "card" / "outbox.db").close()
    assert [one.message for one in caplog.records] == ["outbox is new"]
    caplog.clear()

    reopen(image(tmp_path / "card", tmp_path / "clone")).close()

    assert [one.message for one in caplog.records] == ["outbox begins an epoch"]


def test_former_epochs_that_nobody_answers_for_stay_few(tmp_path: Path) -> None:
    epochs, newest = Epochs([(0, "e0")]), 0
    for _ in range(3 * UNTOLD):
        newest += 2
        epochs = epochs.renewed(newest, newest + 1)

    assert len(epochs.former) == UNTOLD
    assert epochs.of(newest) == epochs.former[-1]
    for _ in range(3 * UNTOLD):
        newest += 2
        epochs = epochs.renewed(newest, newest - 20)  # some rows are there still
    assert len(epochs.former) == UNTOLD + 11
    assert epochs.of(newest - 20).rows([(2, 2)]) == [(newest - 20, newest - 20)]


def test_epochs_are_forgotten_from_the_oldest_on(tmp_path: Path) -> None:
    epochs = Epochs([(0, "a"), (5, "b"), (9, "c")])

    assert epochs.without({"b"}) is epochs
    assert epochs.without({"a"}).beginnings == ((5, "b"), (9, "c"))
    assert epochs.without({"a", "b", "c"}).beginnings == ((9, "c"),)


def test_epochs_outlive_damage(tmp_path: Path) -> None:
    with closing(reopen(tmp_path / "card" / "outbox.db")) as outbox:
        outbox.put([result(n) for n in range(5)])
    path = image(tmp_path / "card", tmp_path / "clone")
    with closing(reopen(path)) as outbox:
        outbox.put([result(n) for n in range(5)])
        beginnings = outbox.epochs.beginnings
    data = bytearray(path.read_bytes())
    data[:100] = bytes(100)
    path.write_bytes(data)

    with closing(reopen(path)) as outbox:
        assert outbox.salvaged is not None
        assert outbox.epochs.beginnings == beginnings
        assert len(outbox.read(after=0, limit=100)) == 10


def test_a_witness_speaks_for_the_outbox_that_it_knew_alone(tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    memory.mkdir()
    outbox = tmp_path / "outbox.db"
    outbox.touch()
    witness = Witness(outbox, memory)
    assert not witness.speaks_for("aa", 5)
    witness.swear_in("aa", 5)
    witness.saw(8)
    witness.close()

    later = Witness(outbox, memory)

    assert later.speaks_for("aa", 8)
    assert later.speaks_for("aa", 9)
    assert not later.speaks_for("aa", 7)
    assert not later.speaks_for("bb", 8)
    assert not Witness(tmp_path / "other.db", memory).speaks_for("aa", 8)


def test_witnesses_of_outboxes_that_are_no_more_are_swept_away(tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    memory.mkdir()
    for number in range(3):
        witness = Witness(tmp_path / f"{number}.db", memory)
        witness.swear_in("aa", 1)
        witness.close()

    assert len(list(memory.iterdir())) == 1


def test_without_such_memory_an_outbox_works_and_begins_an_epoch_at_each_start(tmp_path: Path) -> None:
    witness = Witness(tmp_path / "outbox.db", tmp_path / "nowhere")
    witness.swear_in("aa", 1)
    witness.saw(2)
    witness.close()

    assert not witness.speaks_for("aa", 2)
