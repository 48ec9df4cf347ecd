"""The broker's window is never exceeded, the order never changes, and every batch learns its end."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from edge_sdk.mqtt.outgoing import Batch, Outgoing
from edge_sdk.mqtt.transport import Message


class Wire:
    """Packets of four bytes, the identifier twice, as they went out."""

    def __init__(self, window: int, *, numbers: int = 65_535) -> None:
        self.sent: list[int] = []
        turns = itertools.cycle(range(1, numbers + 1))
        self.outgoing = Outgoing(lambda: next(turns), self._write, window=window)

    def publish(self, count: int, qos: int = 1) -> Batch:
        batch = Batch(count if qos else 0)
        self.outgoing.add([Message("t", b"", qos=qos)] * count, batch, lambda _, number: number.to_bytes(4, "big"))
        return batch

    def _write(self, packets: bytes) -> None:
        self.sent += [int.from_bytes(packets[at : at + 4], "big") for at in range(0, len(packets), 4)]


@given(st.integers(1, 30), st.lists(st.tuples(st.integers(1, 40), st.integers(0, 40)), max_size=20))
def test_the_window_holds_and_the_order_is_kept(window: int, steps: list[tuple[int, int]]) -> None:
    wire, acknowledged = Wire(window), 0
    batches = []
    for published, answered in [*steps, *[(0, window)] * 800]:
        if published:
            batches.append(wire.publish(published))
        assert len(wire.sent) - acknowledged <= window
        answers = wire.sent[acknowledged : acknowledged + answered]
        wire.outgoing.acknowledged([(number, 0) for number in answers])
        acknowledged += len(answers)

    assert wire.sent == list(range(1, sum(published for published, _ in steps) + 1))
    assert not any(batch.left for batch in batches)
    assert not len(wire.outgoing)


def test_a_batch_is_finished_by_its_last_acknowledgement_and_remembers_a_refusal() -> None:
    wire = Wire(10)
    first, second = wire.publish(2), wire.publish(1)

    assert wire.outgoing.acknowledged([(1, 0x87), (3, 0)]) == [second]
    assert wire.outgoing.acknowledged([(2, 0), (2, 0), (77, 0)]) == [first]
    assert (first.refused, second.refused) == (0x87, None)


def test_a_number_that_is_taken_is_not_given_again() -> None:
    wire = Wire(10, numbers=5)
    wire.publish(4)
    wire.outgoing.acknowledged([(1, 0), (3, 0)])

    wire.publish(3)

    assert sorted(wire.sent[-3:]) == [1, 3, 5]


def test_at_quality_0_nothing_waits() -> None:
    wire = Wire(1)
    wire.publish(3)

    wire.publish(2, qos=0)

    assert wire.sent == [1, 0, 0]


def test_a_lost_connection_concerns_all_that_was_not_acknowledged() -> None:
    wire = Wire(1)
    first, second, third = wire.publish(1), wire.publish(2), wire.publish(1)
    wire.outgoing.acknowledged([(1, 0)])

    assert wire.outgoing.abandon() == {second, third}
    assert not first.left
    assert not len(wire.outgoing)
