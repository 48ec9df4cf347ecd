"""The packer: what a station says of the epochs that do not go on, and what a monitor makes of it."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

from edge_sdk.base.clock import ManualClock
from edge_sdk.contract.encoding import Encoding
from edge_sdk.contract.envelope import OutboxRow
from edge_sdk.contract.topics import Topics
from edge_sdk.monitor.store.reader import StoreReader
from edge_sdk.monitor.store.sqlite import SqliteStore
from edge_sdk.monitor.verify import verify_all
from edge_sdk.mqtt.packer import Packer
from edge_sdk.mqtt.relay import Ask
from edge_sdk.mqtt.transport import Message
from edge_sdk.outbox.quota import Quota
from edge_sdk.outbox.sqlite import SqliteOutbox
from tests.outbox.test_outbox import result

TOPICS = Topics("north", "gate-1")
SMALL = Quota(bytes=1_000_000, keep_after_receipt_s=0.0)
NOW_NS = 1_795_000_000_000_000_000


class Visit:
    """One run of a station, from the image of its card that the run before left; and the monitor, which stays."""

    def __init__(self, tmp_path: Path) -> None:
        self.directory, self.runs = tmp_path, 0
        self.store = SqliteStore(tmp_path / "monitor.db")
        self.outbox = SqliteOutbox.open(tmp_path / "0" / "outbox.db", clock=ManualClock(), quota=SMALL)

    def reboot(self) -> None:
        self.outbox.close()
        old, self.runs = self.directory / str(self.runs), self.runs + 1
        new = shutil.copytree(old, self.directory / str(self.runs))
        self.outbox = SqliteOutbox.open(new / "outbox.db", clock=ManualClock(), quota=SMALL)

    @property
    def packer(self) -> Packer:
        return Packer(TOPICS, self.outbox, encoding=Encoding.JSON, compressed=False)

    def send(self, *messages: Message) -> None:
        """To the monitor, and its receipts back."""
        committed = self.store.commit(verify_all(messages, max_payload_bytes=1 << 20), now_ns=NOW_NS)
        for receipt in committed.receipts.values():
            self.outbox.acknowledge(receipt)

    def sources(self) -> dict[str, tuple[int, int, int]]:
        """Of each epoch that the monitor knows, what is stored, given up and missing."""
        with StoreReader(self.directory / "monitor.db") as reader:
            detail = reader.station("north", "gate-1", now_ns=NOW_NS)
            return {one.epoch: (one.stored, one.given_up, one.missing) for one in detail.sources} if detail else {}

    def close(self) -> None:
        self.outbox.close()
        self.store.close()


def all_of(visit: Visit, rows: list[OutboxRow]) -> list[Message]:
    return [visit.packer.single(row) for row in rows]


def test_a_former_epoch_that_was_given_up_wholly_is_told_so_and_then_forgotten(tmp_path: Path) -> None:
    with closing(Visit(tmp_path)) as visit:
        rows = visit.outbox.put([result(n) for n in range(20)])
        visit.send(*all_of(visit, [rows[0], rows[9]]))  # the others were lost on the way
        old = visit.outbox.epoch
        assert visit.sources() == {old: (2, 0, 8)}
        visit.reboot()
        while visit.outbox.stats().first_waiting <= 20:  # the quota is full, and the oldest give way
            visit.outbox.put([result(n, padding=20_000) for n in range(10)])
        visit.reboot()

        visit.send(*visit.packer.questions())

        assert visit.sources()[old] == (2, 18, 0)
        assert old not in [one.id for one in visit.outbox.epochs.former]


def test_a_former_epoch_that_was_stored_wholly_is_asked_for_once(tmp_path: Path) -> None:
    with closing(Visit(tmp_path)) as visit:
        visit.send(*all_of(visit, list(visit.outbox.put([result(n) for n in range(20)]))))
        old = visit.outbox.epoch
        visit.reboot()
        assert len(visit.packer.questions()) == 1

        visit.send(*visit.packer.questions())

        assert visit.sources() == {old: (20, 0, 0)}
        assert visit.packer.questions() == []


def test_where_rows_wait_the_question_gives_nothing_up(tmp_path: Path) -> None:
    with closing(Visit(tmp_path)) as visit:
        rows = visit.outbox.put([result(n) for n in range(20)])
        visit.send(*all_of(visit, [rows[0], rows[9]]))
        old = visit.outbox.epoch
        visit.reboot()

        visit.send(*visit.packer.questions())
        assert visit.sources() == {old: (2, 0, 8)}
        packed = visit.packer.pack(visit.packer.within_an_epoch(Ask(1, 20, 100)), 1 << 20)
        visit.send(packed.message)

        assert visit.sources() == {old: (20, 0, 0)}
        assert not visit.outbox.epochs.former
