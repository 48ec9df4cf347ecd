"""Verification of messages: what is taken, what is refused and why."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from edge_sdk.contract.encoding import Encoding, compress, transcode
from edge_sdk.contract.result import FusedResult
from edge_sdk.monitor.store.base import Batch
from edge_sdk.monitor.verify import MAX_SEQ, verify_all
from edge_sdk.mqtt.transport import Message
from tests.monitor.talk import Talker

GATE = Talker()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=10,
)


def take(*messages: Message) -> Batch:
    return verify_all(messages, max_payload_bytes=100_000)


def changed(message: Message, **fields: object) -> Message:
    """The same message with other values in its JSON."""
    payload = {**msgspec.json.decode(message.payload), **fields}
    return Message(message.topic, msgspec.json.encode(payload), message.qos, message.retain)


def with_confidence(number: bytes) -> Message:
    """A result whose confidence is written as `number`, which no encoder of ours would write."""
    good = GATE.result(1)
    return Message(good.topic, good.payload.replace(b'"confidence":0.91', b'"confidence":' + number))


def reasons(batch: Batch) -> list[str]:
    return [refusal.reason for refusal in batch.refusals]


def test_what_a_station_sends_is_taken() -> None:
    batch = take(GATE.birth(), GATE.status(), GATE.result(1), GATE.pack([2, 3]), GATE.health(), GATE.event("a.b"))

    assert batch.refusals == []
    assert batch.messages == 6
    assert [one.seq for arrivals in batch.results.values() for one in arrivals] == [1, 2, 3]
    assert [type(notice.what).__name__ for notice in batch.notices] == ["Birth", "Status", "Health", "StationEvent"]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (Message(GATE.result(1).topic, b""), "malformed"),
        (Message(GATE.result(1).topic, b'{"v":1'), "malformed"),
        (Message(GATE.result(1).topic, b'{"v":1}'), "schema"),
        (Message(GATE.result(1).topic, b'{"detail":' + b"[" * 50_000), "malformed"),
        (Message(GATE.result(1).topic, b'{"label":"\xff"}'), "malformed"),
        (Message(GATE.result(1).topic, b" " * 100_001), "oversized"),
        (Message("edge/v1/north/gate-1/result", GATE.result(1).payload), "topic"),
        (Message("edge/v1/north/gate-1/result/activity/more", GATE.result(1).payload), "topic"),
        (Message("edge/v1/no rth/gate-1/result/activity", GATE.result(1).payload), "topic"),
        (Message("edge/v1/north/gate-1/event/loud", GATE.event("a").payload), "topic"),
        (Message("somewhere/else", b"{}"), "topic"),
        (Message("", b"{}"), "topic"),
        (Message("edge/v1/north/gate-2/result/activity", GATE.result(1).payload), "wrong_station"),
        (Message("edge/v1/north/gate-1/result/sound", GATE.result(1).payload), "wrong_station"),
        (Message("edge/v1/south/gate-1/birth", GATE.birth().payload), "wrong_station"),
        (Message("edge/v1/north/gate-2/pack", GATE.pack([1]).payload), "wrong_station"),
        (changed(GATE.result(1), v=2), "version"),
        (changed(GATE.birth(), v=2), "version"),
        (changed(GATE.result(1), seq=0), "range"),
        (changed(GATE.result(1), seq=MAX_SEQ + 1), "range"),
        (changed(GATE.result(1), epoch="no epoch"), "range"),
        (changed(GATE.result(1), t="2026-11-21T02:00:00"), "range"),
        (changed(GATE.result(1), t="9999-11-21T02:00:00Z"), "range"),
        (changed(GATE.result(1), t="0001-01-01T00:00:00Z"), "range"),
        (changed(GATE.health(), oldest=10**30), "range"),
        (changed(GATE.health(), outbox_rows=-1), "range"),
        (changed(GATE.birth(), epoch=""), "range"),
        (changed(GATE.pack([1]), gone=[[3, 2]]), "range"),
        (changed(GATE.pack([1]), gone=[[1, 3], [2, 9]]), "range"),
        (changed(GATE.pack([1]), gone=[[1, 10**30]]), "range"),
        (with_confidence(b"1e999"), "schema"),
        (with_confidence(b"NaN"), "malformed"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_a_reason(message: Message, reason: str) -> None:
    batch = take(message, GATE.result(9))

    assert reasons(batch) == [reason]
    assert [one.seq for arrivals in batch.results.values() for one in arrivals] == [9]
    assert len(batch.refusals[0].head) <= 256
    assert batch.refusals[0].message


def test_one_bad_result_does_not_hold_up_the_pack_it_is_in() -> None:
    pack = msgspec.json.decode(GATE.pack([1, 2, 3]).payload)
    pack["results"][1]["t"] = "9999-01-01T00:00:00Z"

    batch = take(Message(GATE.pack([1]).topic, msgspec.json.encode(pack)))

    assert reasons(batch) == ["range"]
    assert [one.seq for arrivals in batch.results.values() for one in arrivals] == [1, 3]


def test_a_result_in_another_order_of_fields_is_stored_as_the_same_result() -> None:
    plain = GATE.result(1)
    turned = dict(reversed(msgspec.json.decode(plain.payload).items()))

    [ours], [theirs] = (
        next(iter(take(message).results.values()))
        for message in (plain, Message(plain.topic, msgspec.json.encode(turned)))
    )

    assert msgspec.json.decode(ours.body, type=FusedResult) == msgspec.json.decode(theirs.body, type=FusedResult)
    assert b'"seq"' not in theirs.body


@pytest.mark.parametrize("encoding", list(Encoding))
@pytest.mark.parametrize("write", [bytes, compress])
def test_every_form_of_a_pack_is_stored_as_the_same_results(
    encoding: Encoding, write: Callable[[bytes], bytes]
) -> None:
    plain = GATE.pack(range(1, 30), gone=[(4, 4), (9, 12)])
    other = Message(plain.topic, write(transcode(plain.payload, encoding)))

    first, second = take(plain), take(other)

    assert second.gone == first.gone == {source: [(4, 4), (9, 12)] for source in first.results}
    [ours], [theirs] = first.results.values(), second.results.values()
    assert [replace(one, body=b"") for one in theirs] == [replace(one, body=b"") for one in ours]
    assert [msgspec.json.decode(one.body, type=FusedResult) for one in theirs] == [
        msgspec.json.decode(one.body, type=FusedResult) for one in ours
    ]


def test_a_pack_that_expands_without_end_is_refused() -> None:
    batch = take(Message(GATE.pack([1]).topic, zlib.compress(bytes(1 << 24))))

    assert reasons(batch) == ["oversized"]


def test_a_cleared_birth_is_passed_over() -> None:
    batch = take(Message(GATE.birth().topic, b""), Message(GATE.status().topic, b""))

    assert (batch.refusals, batch.notices) == ([], [])


@given(
    topic=st.sampled_from([one.topic for one in (GATE.result(1), GATE.pack([1]), GATE.birth(), GATE.status(),
                                                 GATE.health(), GATE.event("a"))]) | st.text(max_size=30),
    payload=st.binary(max_size=60) | JSON.map(msgspec.json.encode),
)  # fmt: skip
def test_no_bytes_can_stop_it(topic: str, payload: bytes) -> None:
    batch = take(Message(topic, payload), GATE.result(1))

    assert sum(map(len, batch.results.values())) == 1
    assert batch.messages == 2


@given(
    message=st.sampled_from([GATE.result(1), GATE.pack([1, 2]), GATE.birth(), GATE.health(), GATE.event("a")]),
    field=st.integers(0, 30),
    value=JSON,
)
def test_no_value_in_a_good_message_can_stop_it(message: Message, field: int, value: object) -> None:
    fields = msgspec.json.decode(message.payload)
    fields[list(fields)[field % len(fields)]] = value

    batch = take(Message(message.topic, msgspec.json.encode(fields)), GATE.result(50))

    assert any(one.seq == 50 for arrivals in batch.results.values() for one in arrivals)
