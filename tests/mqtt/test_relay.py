"""Laws of choosing what is sent."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from edge_sdk.contract.envelope import OutboxRow
from edge_sdk.contract.receipt import runs
from edge_sdk.mqtt.relay import Relay

SECOND = 1_000_000_000


def row(seq: int) -> OutboxRow:
    return OutboxRow(seq, "s", b"{}", 0)


def numbers(ranges: tuple[tuple[int, int], ...]) -> set[int]:
    return {n for low, high in ranges for n in range(low, high + 1)}


class Delivery(RuleBasedStateMachine):
    """An outbox, a relay, a network that loses, a monitor that receipts late, and a clock."""

    def __init__(self) -> None:
        super().__init__()
        self.relay = Relay(live_limit=5, pack_limit=4, flight_limit=12, resend_after_s=10.0)
        self.outbox: set[int] = set()
        self.newest = 0
        self.stored: set[int] = set()
        self.sent: list[int] = []
        self.now_ns = 0
        self.up = False

    @rule(count=st.integers(1, 8))
    def put(self, count: int) -> None:
        rows = [row(self.newest + 1 + n) for n in range(count)]
        self.newest += count
        self.outbox |= {item.seq for item in rows}
        self.relay.offer(rows, now_ns=self.now_ns)

    @rule()
    def connect(self) -> None:
        self.relay.connected(oldest=min(self.outbox, default=self.newest + 1), newest=self.newest)
        self.up = True

    @rule()
    def lose_the_connection(self) -> None:
        self.relay.disconnected()
        self.up = False

    @rule(limit=st.integers(1, 6), arrives=st.booleans())
    def send_live(self, limit: int, arrives: bool) -> None:
        self._send([item.seq for item in self.relay.take_live(limit=limit, now_ns=self.now_ns)], arrives)

    @rule()
    def shelve(self) -> None:
        waiting = self.relay.live
        assert self.relay.shelve(self.now_ns) in (0, waiting)

    @rule(arrives=st.booleans(), cut_to=st.integers(1, 4))
    def send_a_pack(self, arrives: bool, cut_to: int) -> None:
        ask = self.relay.next_backlog()
        if ask is None:
            return
        assert ask.limit <= 4
        held = sorted(n for n in self.outbox if ask.low <= n <= ask.high)
        chosen = held[: min(ask.limit, cut_to)]
        self.relay.take_backlog(ask, [row(n) for n in chosen], exhausted=len(chosen) == len(held), now_ns=self.now_ns)
        self._send(chosen, arrives)

    def _send(self, seqs: list[int], arrives: bool) -> None:
        self.sent += seqs
        if arrives:
            self.stored |= set(seqs)

    @rule()
    def receipt(self) -> None:
        ranges = runs(sorted(self.stored))
        self.relay.settle(ranges, now_ns=self.now_ns)
        self.outbox -= self.stored

    @rule(count=st.integers(1, 3))
    def the_quota_drops_the_oldest(self, count: int) -> None:
        for seq in sorted(self.outbox)[:count]:
            self.outbox.discard(seq)

    @rule(seconds=st.integers(1, 40))
    def time_passes(self, seconds: int) -> None:
        self.now_ns += seconds * SECOND
        self.relay.expire(self.now_ns)

    @invariant()
    def every_held_row_is_known_while_connected(self) -> None:
        if self.up:
            backlog, flying = numbers(self.relay.backlog), numbers(self.relay.in_flight)
            assert not backlog & flying
            missing = self.outbox - backlog - flying
            assert len(missing) <= self.relay.live

    @invariant()
    def flight_and_queue_are_bounded(self) -> None:
        assert self.relay.live <= 5

    def teardown(self) -> None:
        """Whatever happened: once the network is good, everything that was not given up is stored."""
        self.connect()
        for _ in range(2000):
            if not self.outbox:
                break
            self.send_live(6, True)
            self.send_a_pack(True, 4)
            self.receipt()
            due_ns = self.relay.due_ns()
            if due_ns is not None:
                self.now_ns = max(self.now_ns, due_ns)
                self.relay.expire(self.now_ns)
        assert not self.outbox


TestDelivery = Delivery.TestCase
TestDelivery.settings = settings(max_examples=150, stateful_step_count=40)


def test_live_rows_leave_in_order() -> None:
    relay = Relay()
    relay.connected(oldest=1, newest=0)
    relay.offer([row(1), row(2), row(3)], now_ns=0)

    assert [item.seq for item in relay.take_live(limit=2, now_ns=0)] == [1, 2]
    assert relay.in_flight == ((1, 2),)


def test_rows_beyond_the_live_queue_become_backlog() -> None:
    relay = Relay(live_limit=2)
    relay.connected(oldest=1, newest=0)
    relay.offer([row(n) for n in range(1, 6)], now_ns=0)

    assert relay.backlog == ((1, 3),)
    assert [item.seq for item in relay.take_live(limit=9, now_ns=0)] == [4, 5]


def test_a_live_queue_that_is_served_too_slowly_becomes_backlog_before_it_is_old() -> None:
    relay = Relay()
    relay.connected(oldest=1, newest=0)
    worst_ns = 0
    offered_ns: dict[int, int] = {}
    for n in range(1, 1001):  # 100 a second come, the broker takes 50
        now_ns = n * SECOND // 100
        offered_ns[n] = now_ns
        relay.offer([row(n)], now_ns=now_ns)
        relay.shelve(now_ns)
        for item in relay.take_live(limit=n % 2, now_ns=now_ns):
            worst_ns = max(worst_ns, now_ns - offered_ns[item.seq])

    assert worst_ns < SECOND // 2
    assert 300 < len(numbers(relay.backlog)) < 600


def test_rows_accepted_while_connecting_are_sent_once() -> None:
    relay = Relay()
    relay.connected(oldest=1, newest=2)
    relay.offer([row(2), row(3)], now_ns=0)

    assert relay.backlog == ((1, 2),)
    assert [item.seq for item in relay.take_live(limit=9, now_ns=0)] == [3]


def test_what_a_later_row_has_overtaken_is_sent_again_at_once() -> None:
    relay = Relay(resend_after_s=100.0)
    relay.connected(oldest=1, newest=0)
    for seq, now_ns in ((1, 0), (2, SECOND), (3, 2 * SECOND), (4, 3 * SECOND)):
        relay.offer([row(seq)], now_ns=now_ns)
        relay.take_live(limit=1, now_ns=now_ns)

    relay.settle([(1, 1), (3, 3)], now_ns=3 * SECOND)

    assert relay.due_ns() == SECOND
    assert relay.expire(3 * SECOND) == 1
    assert (relay.backlog, relay.in_flight) == (((2, 2),), ((4, 4),))


def test_while_receipts_make_progress_a_slow_monitor_is_not_flooded_with_resends() -> None:
    relay = Relay(resend_after_s=1.0)
    relay.connected(oldest=1, newest=0)
    relay.offer([row(seq) for seq in range(1, 101)], now_ns=0)
    relay.take_live(limit=100, now_ns=0)

    for seq in range(1, 100):
        relay.settle([(seq, seq)], now_ns=seq * SECOND // 2)
        assert relay.expire(seq * SECOND // 2) == 0


def test_without_receipts_one_pack_probes_with_growing_patience() -> None:
    relay = Relay(pack_limit=10, resend_after_s=1.0)
    relay.connected(oldest=1, newest=1000)
    now_ns = 0
    probes = []
    for _ in range(4):
        sent = 0
        while ask := relay.next_backlog():
            rows = [row(n) for n in range(ask.low, min(ask.high, ask.low + ask.limit - 1) + 1)]
            relay.take_backlog(ask, rows, exhausted=False, now_ns=now_ns)
            sent += len(rows)
        due_ns = relay.due_ns()
        assert due_ns is not None
        probes.append((sent, (due_ns - now_ns) // SECOND))
        now_ns = due_ns
        relay.expire(now_ns)

    assert probes == [(1000, 1), (10, 2), (10, 4), (10, 8)]
    relay.next_backlog()
    ask = relay.next_backlog()
    assert ask is not None
    relay.take_backlog(ask, [row(1)], exhausted=False, now_ns=now_ns)
    assert relay.settle([(1, 1)], now_ns=now_ns) == 1
    assert relay.due_ns() is None


@given(st.sets(st.integers(1, 100)))
def test_runs_are_the_numbers_again(given_numbers: set[int]) -> None:
    found = runs(sorted(given_numbers))

    assert [n for low, high in found for n in range(low, high + 1)] == sorted(given_numbers)
    assert all(a[1] + 1 < b[0] for a, b in pairwise(found))
