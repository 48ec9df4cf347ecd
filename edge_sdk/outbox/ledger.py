"""The ledger: which rows the outbox holds, in memory, as ranges. No I/O, no clock; safe to use from any thread.

A number that was given is in exactly one of these places::

    accept ──▶ waiting ──acknowledge──▶ kept ──expire──▶ forgotten ──delete──▶ gone
                  ▲                      │                                      ▲
                  └────────again─────────┘           waiting ──give up──────────┘

What is forgotten is in the file still and leaves it with the next commit.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from edge_sdk.contract.receipt import MOST_RANGES, Ranges, Receipt
from edge_sdk.outbox.epochs import Epoch
from edge_sdk.outbox.sieve import Sieve

Spans = Sequence[tuple[int, int]]

_BUCKETS = 100  # so many steps of time from keeping a row to forgetting it
_YOUNG_NS = 5 * 10**9
_PIECE = 10_000


class Ledger:
    """Counts and ranges of one outbox.

    Args:
        keep_s: How long a row is kept after its receipt, for a monitor that was restored from a backup.
    """

    def __init__(self, *, keep_s: float = 0.0) -> None:
        self._keep_ns = round(keep_s * 1e9)
        self._lock = threading.Lock()
        self._waiting, self._kept, self._forgotten = Sieve(), Ranges(), Ranges()
        self._kept_since: deque[tuple[int, Ranges]] = deque()
        self._young, self._younger, self._younger_since_ns = Ranges(), Ranges(), 0
        self._newest = self._dropped = self._damaged = 0

    def load(
        self, *, oldest: int, highest: int, newest: int, dropped: int, damaged: int, receipted: Spans, now_ns: int
    ) -> None:
        """What a file holds: ``oldest … highest`` (0 = nothing), of which `receipted` were acknowledged before.

        Gaps within are learnt when rows are read.
        """
        with self._lock:
            self._newest = max(highest, newest)
            self._dropped, self._damaged = dropped, damaged
            if oldest:
                self._waiting.add(oldest, highest)
        for span in receipted:
            self.acknowledge(*span, now_ns=now_ns)

    # ---- numbers

    @property
    def newest(self) -> int:
        """Highest number ever given; 0 before the first."""
        return self._newest

    @property
    def dropped(self) -> int:
        """Rows given up since the outbox was made."""
        return self._dropped

    @property
    def damaged(self) -> int:
        """Rows found unreadable since the outbox was made."""
        return self._damaged

    @property
    def rows(self) -> int:
        """Rows that wait for a receipt."""
        return len(self._waiting)

    @property
    def kept(self) -> int:
        """Rows kept after their receipt."""
        return len(self._kept)

    def first_waiting(self) -> int:
        """Lowest number that waits, or the next one to be given."""
        with self._lock:
            return self._waiting.first or self._newest + 1

    def oldest(self) -> int:
        """Lowest number that waits or is kept, or the next one to be given: what is below can never be sent."""
        with self._lock:
            return min((one.first for one in (self._waiting, self._kept) if one), default=self._newest + 1)

    def lowest(self) -> int:
        """Lowest number that is in the file, as far as we know; 0 = there is none."""
        with self._lock:
            return min((one.first for one in (self._waiting, self._kept, self._forgotten) if one), default=0)

    def waiting(self, low: int, high: int) -> Spans:
        """What of ``low … high`` waits."""
        with self._lock:
            return self._waiting.overlap(low, high)

    def waiting_in_pieces(self, low: int, high: int) -> Iterator[tuple[int, int]]:
        """The same, looked up as it is asked for, and cut where a piece ends: there may be very many."""
        low = max(low, self.first_waiting())
        while low <= high:
            end = min(high, low + _PIECE - 1)
            yield from self.waiting(low, end)
            low = end + 1

    def kept_spans(self) -> Spans:
        """Every range that is kept."""
        with self._lock:
            return self._kept.ranges

    def forgotten_spans(self) -> Spans:
        """Every range that is in the file and not wanted any more."""
        with self._lock:
            return self._forgotten.ranges

    def receipted_spans(self, limit: int) -> Spans:
        """Ranges that are in the file and need not be sent, the lowest `limit` of them."""
        with self._lock:
            both = Ranges(self._kept.ranges)
            for span in self._forgotten.ranges:
                both.add(*span)
            return both.ranges[:limit]

    def gone(self, low: int, high: int) -> Spans:
        """What of ``low … high`` can never be sent: it neither waits nor is kept."""
        with self._lock:
            return [hole for span in self._waiting.holes(low, high) for hole in self._kept.holes(*span)]

    # ---- what happens

    def accept(self, low: int, high: int) -> None:
        """Rows were committed."""
        with self._lock:
            self._newest = max(self._newest, high)
            self._waiting.add(low, high)

    def skip_to(self, seq: int) -> None:
        """Numbers up to `seq` were given, whatever we remember."""
        with self._lock:
            self._newest = max(self._newest, seq)

    def acknowledge(self, low: int, high: int, *, now_ns: int | None) -> int:
        """Rows need not be sent any more; kept from monotonic time `now_ns` on, None = not kept. Returns how many."""
        with self._lock:
            taken = self._waiting.take(low, high)
            for span in taken:
                if self._keep_ns and now_ns is not None:
                    self._keep(span, now_ns)
                else:
                    self._forgotten.add(*span)
        return _count(taken)

    def again(self, epoch: Epoch, receipt: Receipt, now_ns: int) -> Spans:
        """Kept rows of an epoch that a receipt of it does not name wait again: the monitor has lost them.

        Not those that were acknowledged within the last seconds: a second monitor may have them on its way.
        """
        named = Ranges(epoch.rows(receipt.stored))
        top = epoch.last if len(receipt.stored) < MOST_RANGES else named.top
        with self._lock:
            self._grow_up(now_ns)
            for span in (*self._young.ranges, *self._younger.ranges):
                named.add(*span)
            lost = [hole for low, high in self._kept.overlap(epoch.before + 1, top) for hole in named.holes(low, high)]
            for span in lost:
                self._kept.take(*span)
                self._waiting.add(*span)
        return lost

    def expire(self, now_ns: int) -> None:
        """Forget what has been kept for long enough."""
        with self._lock:
            while self._kept_since and now_ns - self._kept_since[0][0] >= self._keep_ns:
                for span in self._kept_since.popleft()[1].ranges:
                    for taken in self._kept.take(*span):
                        self._forgotten.add(*taken)

    def deleted(self, spans: Iterable[tuple[int, int]]) -> None:
        """Rows have left the file."""
        with self._lock:
            self._remove(spans)

    def give_up(self, spans: Iterable[tuple[int, int]], count: int) -> None:
        """`count` rows have left the file that nobody had acknowledged."""
        with self._lock:
            self._remove(spans)
            self._dropped += count

    def learn(self, low: int, high: int, present: Sequence[int], *, damaged: int) -> None:
        """Of what waits in ``low … high`` the file holds `present` alone, and `damaged` rows that cannot be read."""
        with self._lock:
            self._damaged += damaged
            at = low
            for seq in (*present, high + 1):
                if seq > at:
                    for span in self._waiting.take(at, seq - 1):
                        if damaged:
                            self._forgotten.add(*span)  # they leave the file too, and are counted but once
                at = seq + 1

    # ---- with the lock held

    def _keep(self, span: tuple[int, int], now_ns: int) -> None:
        self._kept.add(*span)
        if not self._kept_since or now_ns - self._kept_since[-1][0] > self._keep_ns // _BUCKETS:
            self._kept_since.append((now_ns, Ranges()))
        self._kept_since[-1][1].add(*span)
        self._grow_up(now_ns)
        self._younger.add(*span)

    def _grow_up(self, now_ns: int) -> None:
        if now_ns - self._younger_since_ns >= _YOUNG_NS:
            is_quiet = now_ns - self._younger_since_ns >= 2 * _YOUNG_NS
            self._young, self._younger = Ranges() if is_quiet else self._younger, Ranges()
            self._younger_since_ns = now_ns

    def _remove(self, spans: Iterable[tuple[int, int]]) -> None:
        spans = list(spans)
        self._waiting.discard(spans)
        for place in (self._kept, self._forgotten):
            for span in spans if place else ():
                place.take(*span)


def _count(spans: Spans) -> int:
    return sum(high - low + 1 for low, high in spans)
