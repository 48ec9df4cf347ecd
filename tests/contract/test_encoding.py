"""Encodings: every form reads back as the same message, and no payload does harm."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sdk.base.errors import PayloadError
from edge_sdk.contract.encoding import MOST_BYTES, Encoding, compress, content_type, expand, is_msgpack, transcode
from edge_sdk.contract.envelope import decode_pack, decode_result, encode_pack, encode_result
from tests.contract.test_envelope import EPOCH, row


@pytest.mark.parametrize("encoding", list(Encoding))
@pytest.mark.parametrize("is_compressed", [False, True])
def test_a_message_is_the_same_in_every_form(encoding: Encoding, is_compressed: bool) -> None:
    single = encode_result(row(7), station="gate-7", epoch=EPOCH)
    pack = encode_pack([row(n) for n in range(1, 40)], station="gate-7", epoch=EPOCH, gone=[(3, 3), (9, 12)])

    one, many = transcode(single, encoding), transcode(pack, encoding)
    if is_compressed:
        many = compress(many)

    assert decode_result(one) == decode_result(single)
    assert decode_pack(many) == decode_pack(pack)
    assert decode_pack(many).gone == ((3, 3), (9, 12))
    assert content_type(one) == f"application/{encoding.value}"
    assert content_type(many) == (f"application/{encoding.value}" if not is_compressed else "application/zlib")
    assert len(one) <= len(single)


def test_a_pack_shrinks_to_a_fifth_and_what_gains_nothing_stays() -> None:
    pack = encode_pack([row(n, n) for n in range(1, 200)], station="gate-7", epoch=EPOCH)

    assert len(compress(pack)) < len(pack) / 5
    assert compress(b"{}") == b"{}"


def test_a_payload_that_expands_without_end_is_refused() -> None:
    bomb = zlib.compress(bytes(MOST_BYTES + 1))

    with pytest.raises(PayloadError) as caught:
        expand(bomb)
    assert caught.value.reason == "oversized"
    assert expand(zlib.compress(b"{" + bytes(MOST_BYTES - 1)))[:1] == b"{"


def refusal(payload: bytes) -> str:
    try:
        expand(payload)
    except PayloadError as error:
        return error.reason
    return ""


@given(st.binary(max_size=100))
def test_compressed_nonsense_is_refused(tail: bytes) -> None:
    assert refusal(b"\x78" + tail) in {"", "malformed"}
    assert refusal(compress(b"x" * 500)[:-1]) == "malformed"
    assert refusal(compress(b"{" * 500) + b"\x00" + tail) == "malformed"


@given(st.binary(min_size=1, max_size=3))
def test_the_first_byte_tells_the_encoding(payload: bytes) -> None:
    assert not (is_msgpack(payload) and payload.startswith(b"{"))
    assert not is_msgpack(b"")
