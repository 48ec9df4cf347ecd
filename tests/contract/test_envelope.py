"""The envelope: spliced bytes read back as what was put in, and nothing else is believed."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sdk.base.errors import PayloadError
from edge_sdk.contract.envelope import (
    OutboxRow,
    decode_pack,
    decode_result,
    encode_body,
    encode_pack,
    encode_result,
    unpack,
)
from tests.outbox.test_outbox import result

EPOCH = "00112233445566ff"


def row(seq: int, value: int = 1, stream: str = "s") -> OutboxRow:
    return OutboxRow(seq, stream, encode_body(result(value, stream=stream)), 0)


@given(st.integers(1, 1 << 53), st.integers(0, 1000), st.text(max_size=20), st.booleans())
def test_a_result_reads_back_with_its_envelope(seq: int, value: int, stream: str, backlog: bool) -> None:
    message = decode_result(encode_result(row(seq, value, stream), station="gate-7", epoch=EPOCH, backlog=backlog))

    assert (message.station, message.epoch, message.seq, message.backlog) == ("gate-7", EPOCH, seq, backlog)
    assert (message.stream, message.value) == (stream, float(value))


@given(st.lists(st.integers(1, 1 << 53), max_size=20))
def test_a_pack_unpacks_into_the_results_that_were_packed(seqs: list[int]) -> None:
    pack = decode_pack(encode_pack(map(row, seqs), station="gate-7", epoch=EPOCH))
    single = [decode_result(encode_result(row(seq), station="gate-7", epoch=EPOCH, backlog=True)) for seq in seqs]

    assert list(unpack(pack)) == single


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    for decode in (decode_result, decode_pack):
        with suppress(PayloadError):
            decode(payload)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((b'"v":1', b'"v":2'), "version"),
        ((b'"seq":7', b'"seq":"7"'), "schema"),
        ((b'"seq":7', b'"seq":0'), "range"),
        ((b'"seq":7', b'"seq":' + b"9" * 18), "range"),
        ((b"{", b"{{"), "malformed"),
    ],
)
def test_a_changed_result_is_refused_with_the_reason(change: tuple[bytes, bytes], reason: str) -> None:
    payload = encode_result(row(7), station="gate-7", epoch=EPOCH).replace(*change, 1)

    with pytest.raises(PayloadError) as caught:
        decode_result(payload)

    assert caught.value.reason == reason


def test_a_field_that_is_not_known_is_left_out() -> None:
    payload = encode_result(row(7), station="gate-7", epoch=EPOCH).replace(b"{", b'{"later":true,', 1)

    assert decode_result(payload).seq == 7
