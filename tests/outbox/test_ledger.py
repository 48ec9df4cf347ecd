"""Laws of the ledger: against a model that remembers each number by itself."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_sdk.contract.receipt import Receipt
from edge_sdk.outbox.epochs import Epoch
from edge_sdk.outbox.ledger import Ledger

_SPAN = st.tuples(st.integers(1, 40), st.integers(0, 10)).map(lambda pair: (pair[0], pair[0] + pair[1]))
_STEP = st.one_of(
    st.tuples(st.just("accept"), st.integers(1, 8)),
    st.tuples(st.sampled_from(["acknowledge", "acknowledge_sent", "give_up", "delete", "again"]), _SPAN),
    st.tuples(st.just("wait"), st.integers(1, 400)),
)


def numbers(spans: object) -> set[int]:
    return {n for low, high in spans for n in range(low, high + 1)}  # type: ignore[attr-defined]


@settings(max_examples=200)
@given(st.lists(_STEP, max_size=25))
def test_each_number_is_in_one_place(steps: list[tuple[str, object]]) -> None:
    ledger, now_s, newest = Ledger(keep_s=300.0), 0, 0
    waiting, kept, forgotten = set[int](), set[int](), set[int]()
    for verb, what in steps:
        if verb == "accept":
            assert isinstance(what, int)
            ledger.accept(newest + 1, newest + what)
            waiting |= set(range(newest + 1, newest + what + 1))
            newest += what
            continue
        if verb == "wait":
            assert isinstance(what, int)
            now_s += what
            if what > 303:  # times are kept in steps of a hundredth: in between, both may be
                ledger.expire(now_s * 10**9)
                forgotten |= kept
                kept.clear()
            continue
        assert isinstance(what, tuple)
        low, high = what
        named = set(range(low, high + 1))
        if verb == "acknowledge":
            assert ledger.acknowledge(low, high, now_ns=now_s * 10**9) == len(waiting & named)
            kept |= waiting & named
            waiting -= named
        elif verb == "acknowledge_sent":
            assert ledger.acknowledge(low, high, now_ns=None) == len(waiting & named)
            forgotten |= waiting & named
            waiting -= named
        elif verb == "again":
            now_s += 11  # long enough that nothing is just receipted
            asked = ledger.again(Epoch("00ff", 0), Receipt(v=1, epoch="00ff", stored=((low, high),)), now_s * 10**9)
            assert numbers(asked) == kept - named
            waiting |= kept - named
            kept &= named
        elif verb == "give_up":
            ledger.give_up([(low, high)], 0)
            waiting, kept, forgotten = waiting - named, kept - named, forgotten - named
        else:
            ledger.deleted([(low, high)])
            waiting, kept, forgotten = waiting - named, kept - named, forgotten - named

        assert numbers(ledger.waiting(1, 400)) == waiting
        assert numbers(ledger.kept_spans()) == kept
        assert numbers(ledger.forgotten_spans()) == forgotten
        assert numbers(ledger.receipted_spans(1000)) == kept | forgotten
        assert numbers(ledger.gone(1, 60)) == set(range(1, 61)) - waiting - kept
        assert ledger.oldest() == min(waiting | kept, default=newest + 1)
        assert ledger.first_waiting() == min(waiting, default=newest + 1)
        assert (ledger.rows, ledger.kept, ledger.newest) == (len(waiting), len(kept), newest)


def test_a_ledger_with_very_many_holes_stays_small() -> None:
    ledger = Ledger()
    ledger.accept(1, 600_000)

    ledger.give_up(((n, n) for n in range(600_000, 400_000, -2)), 100_000)

    assert ledger.rows == 500_000
    assert len(ledger.waiting(1, 600_000)) == 100_000
    assert list(ledger.waiting_in_pieces(400_000, 600_000)) == list(ledger.waiting(400_000, 600_000))


def test_what_waits_can_be_looked_up_piece_by_piece() -> None:
    ledger = Ledger()
    ledger.accept(1, 1_000_000)
    ledger.give_up([(1, 70_000), (80_000, 80_000), (500_000, 600_000)], 170_002)

    found = list(ledger.waiting_in_pieces(1, 900_000))

    assert [seq for low, high in found for seq in range(low, high + 1)] == [
        seq for low, high in ledger.waiting(1, 900_000) for seq in range(low, high + 1)
    ]
    assert max(high - low for low, high in found) < 10_000
