"""What to send next: the pure half of the bridge. No I/O, no clock; it sees numbers, not payloads.

A row that the outbox holds is in exactly one of three places while we are connected::

    offer ──▶ live queue ──take_live──▶ in flight ──settle──▶ forgotten
                  │ overflow, late         │ expire
                  ▼                        ▼
    connected ─▶ backlog ──take_backlog─▶ in flight

The backlog is a set of ranges, so it costs the same whether it holds ten rows or ten million.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edge_sdk.contract.envelope import OutboxRow
from edge_sdk.contract.receipt import Ranges, runs

_PATIENCE_LIMIT = 32
_MERGED_NS = 100_000_000  # departures of neighbours within this are one
_OVERTAKEN_NS = 300_000_000  # what left so much before something that has landed, and has not, is lost
_LATE_NS = 500_000_000  # what waits for longer in the live queue is live no more


@dataclass(frozen=True, slots=True)
class Ask:
    """Which rows to read from the outbox for the next pack: those of ``low … high``, at most `limit`."""

    low: int
    high: int
    limit: int


class Relay:
    """Chooses what is sent, and remembers what is sent and not yet receipted.

    The road keeps the order. So what a later row has overtaken is lost (a broker that restarted, a monitor that was
    not yet subscribed) and is sent again at once. When no receipt comes at all the monitor is away: then what is in
    flight goes back to the backlog, and one pack at a time is sent as a probe, with doubling patience, until one does.

    Args:
        live_limit: Rows in the live queue; the oldest beyond it become backlog.
        pack_limit: Rows in a pack.
        flight_limit: Rows in flight beyond which no backlog is sent.
        resend_after_s: How long a row may be in flight without any receipt that helps before it is sent again.
    """

    def __init__(
        self, *, live_limit: int = 1000, pack_limit: int = 200, flight_limit: int = 20_000, resend_after_s: float = 5.0
    ) -> None:
        self._live_limit = live_limit
        self._pack_limit = pack_limit
        self._flight_limit = flight_limit
        self._resend_after_ns = round(resend_after_s * 1e9)
        self._patience = 1
        self._connected = False
        self._seen = 0
        self._live: deque[tuple[int, OutboxRow]] = deque()  # (since when, row)
        self._backlog = Ranges()
        self._flying = Ranges()
        self._departures: deque[tuple[int, int, int]] = deque()  # (when, low, high)
        self._progress_ns = 0  # when something last landed
        self._landed_ns = 0  # the latest departure that has landed

    @property
    def live(self) -> int:
        """Rows in the live queue."""
        return len(self._live)

    @property
    def backlog(self) -> tuple[tuple[int, int], ...]:
        """Numbers still to be sent as backlog."""
        return self._backlog.ranges

    @property
    def in_flight(self) -> tuple[tuple[int, int], ...]:
        """Numbers sent on this connection that nobody has receipted."""
        return self._flying.ranges

    def connected(self, *, oldest: int, newest: int) -> None:
        """A connection begins: all that the outbox holds, ``oldest … newest``, is backlog."""
        self.disconnected()
        self._connected = True
        self._patience = 1
        self._seen = newest
        if oldest <= newest:
            self._backlog.add(oldest, newest)

    def disconnected(self) -> None:
        """The connection is gone, and with it what we knew of it."""
        self._connected = False
        self._live.clear()
        self._departures.clear()
        self._progress_ns = self._landed_ns = 0
        self._backlog, self._flying = Ranges(), Ranges()

    def offer(self, rows: Sequence[OutboxRow], *, now_ns: int) -> None:
        """Rows were just accepted: they go out live, or wait in the outbox while we are not connected."""
        if not self._connected:
            return
        for row in rows:
            if row.seq <= self._seen:
                continue  # accepted while we connected: it is backlog already
            if row.seq > self._seen + 1:
                self._backlog.add(self._seen + 1, row.seq - 1)
            self._seen = row.seq
            self._live.append((now_ns, row))
        while len(self._live) > self._live_limit:
            self._backlog.add(self._live.popleft()[1].seq)

    def shelve(self, now_ns: int) -> int:
        """When the first of the live queue has waited for too long, all of it becomes backlog; returns how many.

        On a long way the broker's window lets few messages through: what is more than that goes in packs instead.
        """
        if not self._live or now_ns - self._live[0][0] < _LATE_NS:
            return 0
        count = len(self._live)
        for span in runs(item.seq for _, item in self._live):
            self._backlog.add(*span)
        self._live.clear()
        return count

    def take_live(self, *, limit: int, now_ns: int) -> list[OutboxRow]:
        """Rows to send now, one message each; they are in flight from here on."""
        rows = [self._live.popleft()[1] for _ in range(min(limit, len(self._live)))]
        for low, high in runs(row.seq for row in rows):
            self._depart(low, high, now_ns)
        return rows

    def next_backlog(self) -> Ask | None:
        """What to read for the next pack; None = nothing now."""
        room = self._flight_limit if self._patience == 1 else self._pack_limit
        room -= len(self._flying)
        spans = self._backlog.ranges
        if not spans or room <= 0:
            return None
        return Ask(spans[0][0], spans[0][1], min(self._pack_limit, room))

    def take_backlog(self, ask: Ask, rows: Sequence[OutboxRow], *, exhausted: bool, now_ns: int) -> None:
        """`rows` were read for `ask` and go out: they are in flight from here on.

        Args:
            ask: What `next_backlog` said.
            rows: What is sent of it: a beginning of what the outbox holds there.
            exhausted: Whether the outbox holds no more of what was asked.
            now_ns: Monotonic time.
        """
        end = ask.high if exhausted or not rows else rows[-1].seq
        wanted = Ranges(tuple(self._backlog.take(ask.low, end)))  # what is not among the rows has left the outbox
        for span in runs(row.seq for row in rows):
            for low, high in wanted.overlap(*span):  # a receipt may have come while the rows were read
                self._depart(low, high, now_ns)

    def settle(self, ranges: Iterable[tuple[int, int]], *, now_ns: int) -> int:
        """These are stored, or have left the outbox: never send them again. Returns how many were in flight.

        Args:
            ranges: Inclusive ranges of numbers.
            now_ns: Monotonic time.
        """
        landed: list[tuple[int, int]] = []
        for low, high in ranges:
            landed += self._flying.take(low, high)
            self._backlog.take(low, high)
        if landed:
            self._patience = 1
            self._progress_ns = now_ns
            self._landed_ns = max(self._landed_ns, self._departed_ns(Ranges(tuple(landed))))
        return sum(high - low + 1 for low, high in landed)

    def again(self, ranges: Iterable[tuple[int, int]]) -> None:
        """The outbox was asked for these again: they are backlog, unless they are under way already."""
        for low, high in ranges if self._connected else ():
            for span in self._flying.holes(low, high):
                self._backlog.add(*span)

    def due_ns(self) -> int | None:
        """Monotonic time at which `expire` has something to do; None = nothing is in flight."""
        while self._departures and not self._flying.overlap(*self._departures[0][1:]):
            self._departures.popleft()
        if not self._departures:
            return None
        first_ns = self._departures[0][0]
        return first_ns if self._is_overtaken(first_ns) else self._expires_ns(first_ns)

    def expire(self, now_ns: int) -> int:
        """Put what was overtaken, or has been in flight for too long, back into the backlog; returns how many."""
        overtaken = unanswered = 0
        while self._departures:
            when_ns, low, high = self._departures[0]
            is_overtaken = self._is_overtaken(when_ns)
            if not is_overtaken and self._expires_ns(when_ns) > now_ns:
                break
            self._departures.popleft()
            count = 0
            for begin, end in self._flying.take(low, high):
                self._backlog.add(begin, end)
                count += end - begin + 1
            overtaken += count * is_overtaken
            unanswered += count * (not is_overtaken)
        if unanswered:
            self._patience = min(2 * self._patience, _PATIENCE_LIMIT)
        return overtaken + unanswered

    def _expires_ns(self, departed_ns: int) -> int:
        return max(departed_ns, self._progress_ns) + self._resend_after_ns * self._patience

    def _is_overtaken(self, departed_ns: int) -> bool:
        return departed_ns < self._landed_ns - _OVERTAKEN_NS

    def _departed_ns(self, landed: Ranges) -> int:
        """When the latest of these left."""
        for when_ns, low, high in reversed(self._departures):
            if landed.overlap(low, high):
                return when_ns
        return 0

    def _depart(self, low: int, high: int, now_ns: int) -> None:
        self._flying.add(low, high)
        if self._departures:
            when, first, last = self._departures[-1]
            if last + 1 == low and now_ns - when < _MERGED_NS:
                self._departures[-1] = (when, first, high)
                return
        self._departures.append((now_ns, low, high))
