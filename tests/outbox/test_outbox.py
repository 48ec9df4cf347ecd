"""One suite for every outbox: on disk and in memory."""

from __future__ import annotations

import os
import random
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from edge_sdk.base.clock import ClockState, ManualClock, to_datetime
from edge_sdk.base.errors import OutboxFullError
from edge_sdk.contract.envelope import decode_result, encode_result
from edge_sdk.contract.receipt import Receipt
from edge_sdk.contract.result import FusedResult
from edge_sdk.outbox.base import Outbox
from edge_sdk.outbox.memory import MemoryOutbox
from edge_sdk.outbox.quota import Quota
from edge_sdk.outbox.sqlite import SqliteOutbox

Open = Callable[..., Outbox]

needs_a_witness = pytest.mark.skipif(
    not os.access("/dev/shm", os.W_OK), reason="an epoch goes on in a new process only where /dev/shm can be written"
)


def result(number: int = 0, *, stream: str = "occupancy", padding: int = 0) -> FusedResult:
    """A fused result whose value is `number`; its padding cannot be squeezed much."""
    moment = to_datetime(1_767_225_600_000_000_000 + number * 1_000_000)
    return FusedResult(
        stream=stream,
        t=moment,
        observed=moment,
        clock=ClockState.SYNCED,
        method="weighted_mean",
        value=float(number),
        flags=(b64encode(random.Random(number).randbytes(padding)).decode()[:padding],) if padding else (),
    )


def receipt(outbox: Outbox, *stored: tuple[int, int]) -> Receipt:
    return Receipt(v=1, epoch=outbox.epoch, stored=stored)


@pytest.fixture(params=["sqlite", "memory"])
def open_outbox(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    opened: list[Outbox] = []

    def open_one(**options: Any) -> Outbox:
        clock = ManualClock()
        outbox: Outbox = (
            SqliteOutbox.open(tmp_path / "outbox.db", clock=clock, **options)
            if request.param == "sqlite"
            else MemoryOutbox(clock=clock, **options)
        )
        opened.append(outbox)
        return outbox

    yield open_one
    for outbox in opened:
        outbox.close()


def seqs(outbox: Outbox, **options: Any) -> list[int]:
    return [row.seq for row in outbox.read(**{"after": 0, "limit": 10_000, **options})]


def test_results_are_numbered_from_one_and_read_back_whole(open_outbox: Open) -> None:
    outbox = open_outbox()

    put = [*outbox.put([result(1), result(2, stream="air")]), *outbox.put([result(3)])]

    assert [row.seq for row in put] == [1, 2, 3]
    assert list(outbox.read(after=0, limit=10)) == put
    assert [row.stream for row in put] == ["occupancy", "air", "occupancy"]
    message = decode_result(encode_result(put[2], station="s", epoch=outbox.epoch))
    assert (message.value, message.seq, message.epoch) == (3.0, 3, outbox.epoch)


def test_reading_begins_after_ends_before_and_keeps_to_the_limit(open_outbox: Open) -> None:
    outbox = open_outbox()
    outbox.put([result(n) for n in range(10)])

    assert seqs(outbox, after=4) == [5, 6, 7, 8, 9, 10]
    assert seqs(outbox, after=4, before=7) == [5, 6]
    assert seqs(outbox, limit=3) == [1, 2, 3]
    assert seqs(outbox, after=10) == []


def test_a_receipt_makes_it_forget_what_it_names_and_nothing_else(open_outbox: Open) -> None:
    outbox = open_outbox()
    outbox.put([result(n) for n in range(10)])

    assert outbox.acknowledge(receipt(outbox, (1, 3), (6, 7))) == 5
    assert outbox.acknowledge(receipt(outbox, (1, 3), (6, 7))) == 0

    assert seqs(outbox) == [4, 5, 8, 9, 10]
    assert seqs(outbox, limit=3) == [4, 5, 8]
    assert outbox.stats().rows == 5
    assert outbox.stats().oldest == 4


def test_a_receipt_of_another_epoch_changes_nothing(open_outbox: Open) -> None:
    outbox = open_outbox()
    outbox.put([result(1)])

    assert outbox.acknowledge(Receipt(v=1, epoch="0123456789abcdef", stored=((1, 10),))) == 0
    assert seqs(outbox) == [1]


def test_numbers_that_a_receipt_names_are_never_given_again(open_outbox: Open) -> None:
    outbox = open_outbox()
    outbox.put([result(1)])
    outbox.acknowledge(receipt(outbox, (1, 100)))  # as after a medium that lost our last commits

    outbox.put([result(2)])

    assert seqs(outbox) == [101]


def test_the_brokers_word_forgets_a_range(open_outbox: Open) -> None:
    outbox = open_outbox()
    outbox.put([result(n) for n in range(5)])

    assert outbox.acknowledge_sent(2, 3) == 2
    assert seqs(outbox) == [1, 4, 5]


def test_an_empty_outbox_says_what_number_comes_next(open_outbox: Open) -> None:
    outbox = open_outbox()
    assert (outbox.stats().oldest, outbox.stats().newest, outbox.stats().rows) == (1, 0, 0)

    outbox.put([result(1), result(2)])
    outbox.acknowledge(receipt(outbox, (1, 2)))

    assert (outbox.stats().oldest, outbox.stats().newest, outbox.stats().rows) == (3, 2, 0)


def test_a_full_quota_drops_the_oldest_and_counts_them(open_outbox: Open) -> None:
    outbox = open_outbox(quota=Quota(bytes=400_000))

    for n in range(60):
        outbox.put([result(n * 20 + k, padding=1000) for k in range(20)])

    stats = outbox.stats()
    assert stats.newest == 1200
    assert stats.dropped > 0
    assert stats.rows == 1200 - stats.dropped
    assert seqs(outbox) == list(range(stats.oldest, 1201))
    assert stats.rows * 1000 > 400_000 * 0.5
    assert stats.file_bytes <= 400_000 + 1024 * 1024 + 64 * 1024


def test_a_full_quota_can_refuse_instead_and_recovers_when_rows_leave(open_outbox: Open) -> None:
    outbox = open_outbox(quota=Quota(bytes=400_000, on_full="refuse"))
    accepted, group = 0, [result(n, padding=1000) for n in range(10)]
    with suppress(OutboxFullError):
        while accepted < 1000:
            accepted += len(outbox.put(group))

    with pytest.raises(OutboxFullError, match="quota of 400000 bytes"):
        outbox.put(group)
    assert outbox.stats().rows == outbox.stats().newest == accepted
    assert outbox.stats().dropped == 0

    outbox.acknowledge(receipt(outbox, (1, accepted)))
    assert [row.seq for row in outbox.put([result(1)])] == [accepted + 1]


def test_reading_goes_on_while_others_put_and_acknowledge(open_outbox: Open) -> None:
    outbox = open_outbox()
    total, failures = 2000, []

    def write() -> None:
        for n in range(0, total, 20):
            outbox.put([result(n + k) for k in range(20)])

    def consume() -> None:
        seen = 0
        while seen < total:
            rows = outbox.read(after=seen, limit=50)
            if [row.seq for row in rows] != list(range(seen + 1, seen + 1 + len(rows))):
                failures.append(rows)
            if rows:
                seen = rows[-1].seq
                outbox.acknowledge(receipt(outbox, (1, seen)))

    threads = [threading.Thread(target=write), threading.Thread(target=consume)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert failures == []
    assert outbox.stats().rows == 0
