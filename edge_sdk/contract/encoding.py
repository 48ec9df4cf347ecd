"""How a payload is written: JSON, or by option MessagePack, and compressed where that pays.

A reader needs no setting and no MQTT property: the first byte tells. JSON begins with ``{``, MessagePack with the byte
of a map, what is compressed with zlib's ``0x78``. The MQTT 5 content type says it too, for readers that are not ours.
"""

from __future__ import annotations

import zlib
from enum import Enum

import msgspec

from edge_sdk.base.errors import PayloadError

MOST_BYTES = 4 * 1024 * 1024
"""What a compressed payload may expand to."""

_ZLIB = b"\x78"
_PAYS = 0.9  # what compression must bring it down to


class Encoding(str, Enum):
    """The form of results and packs on the wire."""

    JSON = "json"
    MSGPACK = "msgpack"


def transcode(payload: bytes, encoding: Encoding) -> bytes:
    """A JSON payload in that encoding; names and values are the same, times stay text."""
    return payload if encoding is Encoding.JSON else msgspec.msgpack.encode(msgspec.json.decode(payload))


def compress(payload: bytes) -> bytes:
    """The payload, compressed if that pays."""
    packed = zlib.compress(payload, level=1)
    return packed if len(packed) < _PAYS * len(payload) else payload


def expand(payload: bytes) -> bytes:
    """The payload as it was before it was compressed, if it was.

    Raises:
        PayloadError: It is damaged, or expands beyond `MOST_BYTES`.
    """
    if payload[:1] != _ZLIB:
        return payload
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(payload, MOST_BYTES)
    except zlib.error as error:
        raise PayloadError(f"Payload cannot be expanded: {error}.", reason="malformed") from error
    if inflater.unconsumed_tail:
        raise PayloadError(f"Payload expands to more than {MOST_BYTES} bytes.", reason="oversized")
    if not inflater.eof or inflater.unused_data:
        raise PayloadError("Payload cannot be expanded: it does not end where it says.", reason="malformed")
    return plain


def is_msgpack(payload: bytes) -> bool:
    """Whether it begins as a map of MessagePack does."""
    return payload[:1] >= b"\x80" and (payload[0] < 0x90 or payload[0] in (0xDE, 0xDF))


def content_type(payload: bytes) -> str:
    """What MQTT 5 calls it: ``application/json``, ``application/msgpack``, or ``application/zlib``."""
    if payload[:1] == _ZLIB:
        return "application/zlib"
    return "application/msgpack" if is_msgpack(payload) else "application/json"
