"""What goes out is what paho would read, and what comes back is understood wherever it is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties, VariableByteIntegers

from edge_sdk.mqtt.packet import pubacks, publish_packet, publish_properties
from edge_sdk.mqtt.transport import Message

NUMBERS = st.integers(1, 65_535)


def words(packet: bytes, at: int) -> tuple[bytes, int]:
    """A text with its length in front, and what follows it."""
    end = at + 2 + int.from_bytes(packet[at : at + 2], "big")
    return packet[at + 2 : end], end


@given(st.integers(0, 70_000), st.sampled_from([0, 1]), st.booleans(), NUMBERS)
def test_a_packet_says_its_length_topic_and_number(size: int, qos: int, retain: bool, number: int) -> None:
    message = Message("a/b", b"x" * size, qos=qos, retain=retain)

    packet = publish_packet(message, b"a/b", number, publish_properties(message, None))

    said, digits = VariableByteIntegers.decode(packet[1:])  # type: ignore[no-untyped-call]
    at = 1 + digits
    assert packet[0] == 0x30 | qos << 1 | retain
    assert said == len(packet) - at
    topic, at = words(packet, at)
    assert topic == b"a/b"
    if qos:
        assert int.from_bytes(packet[at : at + 2], "big") == number
        at += 2
    assert packet[at:] == b"\0" + message.payload


@given(
    st.none() | st.integers(0, 2**32 - 1),
    st.none() | st.text("abc/é", max_size=200),
    st.none() | st.text("0123456789abcdef-", min_size=1, max_size=60),
    st.none() | NUMBERS,
)
def test_properties_are_those_that_paho_reads(
    expiry_s: int | None, content_type: str | None, traceparent: str | None, alias: int | None
) -> None:
    message = Message("t", b"", expiry_s=expiry_s, content_type=content_type, traceparent=traceparent)

    packed = publish_properties(message, alias)

    read = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    _, size = read.unpack(packed)  # type: ignore[no-untyped-call]
    assert size == len(packed)
    assert getattr(read, "MessageExpiryInterval", None) == expiry_s
    assert getattr(read, "ContentType", None) == content_type
    assert getattr(read, "UserProperty", None) == (None if traceparent is None else [("traceparent", traceparent)])
    assert getattr(read, "TopicAlias", None) == alias


@pytest.mark.parametrize("topic", ["a/+", "#", "x" * 65_536])
def test_a_topic_that_nobody_can_publish_to_is_refused(topic: str) -> None:
    with pytest.raises(ValueError, match="cannot be published to"):
        publish_packet(Message(topic, b""), topic.encode(), 1, b"")


@given(st.lists(st.tuples(NUMBERS, st.sampled_from([None, 0x00, 0x10, 0x87]), st.booleans())), st.data())
def test_acknowledgements_are_understood_wherever_they_are_cut(
    answers: list[tuple[int, int | None, bool]], data: st.DataObject
) -> None:
    packets = []
    for number, reason, has_properties in answers:
        rest = b"" if reason is None else bytes((reason,)) + b"\0" * has_properties
        packets.append(bytes((0x40, 2 + len(rest))) + number.to_bytes(2, "big") + rest)
    whole = b"".join(packets) + b"\xd0\x00"  # then something else
    cut = data.draw(st.integers(0, len(whole)))

    first, end = pubacks(whole[:cut], 0)
    second, last = pubacks(whole, end)

    assert [*first, *second] == [(number, reason or 0) for number, reason, _ in answers]
    assert whole[last:] == b"\xd0\x00"
