"""Laws of ranges and receipts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sdk.base.errors import PayloadError
from edge_sdk.contract.receipt import Ranges, Receipt, decode_receipt, encode_receipt

_SPANS = st.tuples(st.integers(1, 60), st.integers(0, 20)).map(lambda pair: (pair[0], pair[0] + pair[1]))
_STEPS = st.lists(st.tuples(st.sampled_from(["add", "take"]), _SPANS), max_size=30)


@given(_STEPS, _SPANS)
def test_ranges_are_a_set_of_numbers(steps: list[tuple[str, tuple[int, int]]], asked: tuple[int, int]) -> None:
    ranges, model = Ranges(), set[int]()
    for verb, (low, high) in steps:
        numbers = set(range(low, high + 1))
        if verb == "add":
            assert ranges.add(low, high) == len(numbers - model)
            model |= numbers
        else:
            taken = ranges.take(low, high)
            assert {n for a, b in taken for n in range(a, b + 1)} == model & numbers
            model -= numbers

    assert {n for low, high in ranges.ranges for n in range(low, high + 1)} == model
    assert all(a[1] + 1 < b[0] for a, b in zip(ranges.ranges, ranges.ranges[1:], strict=False))
    assert (len(ranges), ranges.first, ranges.top, bool(ranges)) == (
        len(model),
        min(model, default=0),
        max(model, default=0),
        bool(model),
    )
    overlap = {n for low, high in ranges.overlap(*asked) for n in range(low, high + 1)}
    assert overlap == model & set(range(asked[0], asked[1] + 1))
    holes = {n for low, high in ranges.holes(*asked) for n in range(low, high + 1)}
    assert holes == set(range(asked[0], asked[1] + 1)) - model
    assert all((n in ranges) == (n in model) for n in range(90))


@given(st.lists(_SPANS, max_size=10))
def test_a_receipt_reads_back_as_it_was_and_holds_what_it_names(spans: list[tuple[int, int]]) -> None:
    ranges = Ranges()
    for span in spans:
        ranges.add(*span)
    receipt = Receipt(v=1, epoch="00ff", stored=ranges.ranges)

    assert decode_receipt(encode_receipt(receipt)) == receipt
    assert all(receipt.holds(n) == (n in ranges) for n in range(90))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"v":1,"epoch":"e","stored":[[3,1]]}',
        b'{"v":1,"epoch":"e","stored":[[1,2],[2,3]]}',
        b'{"v":1,"epoch":"e","stored":[[1,99999999999999999999]]}',
    ],
)
def test_a_malformed_receipt_is_a_payload_error(payload: bytes) -> None:
    with pytest.raises(PayloadError):
        decode_receipt(payload)
