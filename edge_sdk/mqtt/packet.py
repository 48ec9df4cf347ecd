"""Packets of MQTT as bytes: PUBLISH as it goes out, PUBACK as it comes back; those of which there are very many."""

from __future__ import annotations

from edge_sdk.mqtt.transport import Message

_PUBLISH, _PUBACK = 0x30, 0x40
_MOST_BYTES = 268_435_455
_LONGEST_TOPIC = 65_535
_EXPIRY, _CONTENT_TYPE, _ALIAS, _USER = 0x02, 0x03, 0x23, 0x26
_NOTHING = b"\0"  # no properties


def publish_packet(message: Message, topic: bytes, number: int, properties: bytes) -> bytes:
    """A PUBLISH.

    Args:
        message: What is published.
        topic: Its topic; empty where an alias stands for it.
        number: The packet identifier; none is written at QoS 0.
        properties: What MQTT 5 says beside it, see `publish_properties`; empty with 3.1.1.

    Raises:
        ValueError: Its topic holds a wildcard, or something is longer than MQTT can say.
    """
    payload = message.payload
    if b"+" in topic or b"#" in topic or len(topic) > _LONGEST_TOPIC:
        raise ValueError(f"Topic {message.topic[:100]!r} cannot be published to: it has a wildcard, or is too long.")
    head = b"%b%b%b" % (_text(topic), number.to_bytes(2, "big") if message.qos else b"", properties)
    size = len(head) + len(payload)
    if size > _MOST_BYTES:
        raise ValueError(f"Message to {message.topic!r} has {size} bytes; MQTT allows {_MOST_BYTES}.")
    return b"%c%b%b%b" % (_PUBLISH | message.qos << 1 | message.retain, _length(size), head, payload)


def publish_properties(message: Message, alias: int | None) -> bytes:
    """What MQTT 5 says beside a message, with its length in front."""
    said = b""
    if alias is not None:
        said += b"%c%b" % (_ALIAS, alias.to_bytes(2, "big"))
    if message.expiry_s is not None:
        said += b"%c%b" % (_EXPIRY, message.expiry_s.to_bytes(4, "big"))
    if message.content_type is not None:
        said += b"%c%b" % (_CONTENT_TYPE, _text(message.content_type.encode()))
    if message.traceparent is not None:
        said += b"%c%b%b" % (_USER, _text(b"traceparent"), _text(message.traceparent.encode()))
    return _length(len(said)) + said if said else _NOTHING


def pubacks(read: bytes, at: int) -> tuple[list[tuple[int, int]], int]:
    """The PUBACKs that come next, as far as they are whole.

    Args:
        read: What came from the broker.
        at: Where a packet begins in it.

    Returns:
        Packet identifier and reason of each (below 128 = accepted), and where the last of them ends.
    """
    found = []
    while at + 4 <= len(read) and read[at] == _PUBACK:
        size = read[at + 1]
        if not 2 <= size < 128 or at + 2 + size > len(read):
            break
        found.append((read[at + 2] << 8 | read[at + 3], read[at + 4] if size > 2 else 0))
        at += 2 + size
    return found, at


def _text(text: bytes) -> bytes:
    return len(text).to_bytes(2, "big") + text


def _length(size: int) -> bytes:
    """A length as MQTT says it: seven bits in a byte, the lowest first."""
    said = bytearray()
    while size > 127:
        said.append(size & 127 | 128)
        size >>= 7
    said.append(size)
    return bytes(said)
