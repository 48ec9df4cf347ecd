"""Laws of the sieve: it holds what ranges hold, in less."""

from __future__ import annotations

import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_sdk.contract.receipt import Ranges
from edge_sdk.outbox.sieve import Sieve

_STEP = st.one_of(
    st.tuples(st.just("add"), st.integers(1, 20_000), st.integers(0, 9_000), st.just(1)),
    st.tuples(st.just("take"), st.integers(1, 20_000), st.integers(0, 9_000), st.just(1)),
    st.tuples(st.sampled_from(["thin", "discard"]), st.integers(1, 20_000), st.integers(0, 3_000), st.integers(2, 300)),
)


@settings(max_examples=100)
@given(st.lists(_STEP, max_size=12), st.integers(1, 30_000), st.integers(0, 30_000))
def test_a_sieve_is_a_set_of_numbers(steps: list[tuple[str, int, int, int]], low: int, more: int) -> None:
    sieve, ranges = Sieve(), Ranges()
    for verb, begin, length, every in steps:
        if verb == "discard":
            sieve.discard((one, one) for one in range(begin, begin + length + 1, every))
        for one in range(begin, begin + length + 1, every) if every > 1 else (begin,):
            end = one if every > 1 else begin + length
            if verb == "add":
                sieve.add(one, end)
                ranges.add(one, end)
            elif verb == "discard":
                ranges.take(one, end)
            else:
                assert sieve.take(one, end) == ranges.take(one, end)

    assert (len(sieve), bool(sieve), sieve.first) == (len(ranges), bool(ranges), ranges.first)
    assert sieve.overlap(low, low + more) == ranges.overlap(low, low + more)
    assert sieve.holes(low, low + more) == ranges.holes(low, low + more)
    assert sieve.overlap(1, 40_000) == ranges.overlap(1, 40_000)


def bytes_of(sieve: Sieve) -> int:
    held = sum(sys.getsizeof(one) for one in sieve._chunks.values())
    return held + 100 * len(sieve._keys) + 16 * len(sieve._ranges.ranges)


def test_a_thinned_set_takes_a_few_bytes_a_number() -> None:
    sieve = Sieve()
    sieve.add(1, 400_000)
    for every in (5, 25, 125):
        sieve.discard((low, low) for low in range(1, 400_001) if low % every)

        assert len(sieve) == 400_000 // every
        assert bytes_of(sieve) < 10 * len(sieve)


def test_a_set_that_was_drained_is_one_range_again() -> None:
    sieve = Sieve()
    sieve.add(1, 100_000)
    sieve.discard((number, number) for number in range(1, 100_001, 3))

    for low, high in sieve.overlap(1, 100_000):
        sieve.take(low, high)

    assert (len(sieve), bool(sieve), sieve.first) == (0, False, 0)
    assert bytes_of(sieve) == 0
