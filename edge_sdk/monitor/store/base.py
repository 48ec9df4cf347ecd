"""What a store promises, and the values that go in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import msgspec

from edge_sdk.contract.events import Birth, Health, Severity, StationEvent, Status
from edge_sdk.contract.receipt import Receipt


class Source(NamedTuple):
    """Who numbered a result: one outbox of one station.

    Attributes:
        site: The site's id.
        station: The station's id.
        epoch: Random id of the outbox.
    """

    site: str
    station: str
    epoch: str


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """One verified result on its way into the store.

    Attributes:
        seq: Its number within the source, from 1.
        stream: Which of the station's streams.
        t_ns: Event time, nanoseconds since the Unix epoch.
        observed_ns: Wall time at the station when its last sample arrived there.
        label: The fused label; None for regression and for "no answer".
        confidence: Probability of the label, 0 to 1.
        value: The fused estimate (regression).
        unit: Unit of the value.
        degraded: Whether a contributor was missing.
        backlog: Whether it waited because the station could not send.
        body: JSON of the `FusedResult`, as the station made it.
    """

    seq: int
    stream: str
    t_ns: int
    observed_ns: int
    label: str | None
    confidence: float | None
    value: float | None
    unit: str | None
    degraded: bool
    backlog: bool
    body: bytes


@dataclass(frozen=True, slots=True)
class Notice:
    """What a station said of itself.

    Attributes:
        site: The site's id.
        station: The station's id.
        what: The message.
        severity: Of a `StationEvent`: from its topic.
        retained: Whether the broker had kept it: then it says nothing about the station being alive now.
    """

    site: str
    station: str
    what: Birth | Status | Health | StationEvent
    severity: Severity = Severity.INFO
    retained: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message that could not be read.

    Attributes:
        reason: One short word: ``malformed``, ``schema``, ``version``, ``topic``, ``wrong_station``, ``range``,
            ``oversized``, ``conflict``, ``unstorable``.
        topic: Where it came, cut to 256 characters.
        head: The first 256 bytes of the payload.
        message: For a person.
    """

    reason: str
    topic: str
    head: bytes
    message: str


@dataclass(slots=True)
class Batch:
    """What goes into the store in one commit.

    Attributes:
        messages: How many MQTT messages it was read from.
        results: Verified results by source, in the order they came.
        gone: Ranges of numbers that a source among them said it will never send.
        notices: What stations said of themselves, in the order it came.
        refusals: What could not be read.
    """

    messages: int = 0
    results: dict[Source, list[Arrival]] = field(default_factory=dict)
    gone: dict[Source, list[tuple[int, int]]] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)


@dataclass(slots=True)
class Committed:
    """What a commit did.

    Attributes:
        new: The results that were not there before, by source.
        duplicates: How many were there already and were refused.
        conflicts: How many had the key of a stored result and other content; the stored one stays, this one is
            in the quarantine.
        receipts: The receipt due to each source that was touched.
        current: For each of those, whether it is the outbox that its station uses now: only then is the receipt
            to be retained, for the topic has room for one.
    """

    new: dict[Source, list[Arrival]] = field(default_factory=dict)
    duplicates: int = 0
    conflicts: int = 0
    receipts: dict[Source, Receipt] = field(default_factory=dict)
    current: dict[Source, bool] = field(default_factory=dict)

    def merge(self, later: Committed) -> None:
        """Add what a later commit did."""
        for source, new in later.new.items():
            self.new[source] = [*self.new.get(source, ()), *new]
        self.duplicates += later.duplicates
        self.conflicts += later.conflicts
        self.receipts |= later.receipts
        self.current |= later.current


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long things are kept; None = for ever.

    Attributes:
        results_days: Raw results, after they were stored; their minutes stay.
        minutes_days: Minutes, after their time; then they become hours.
        health_days: Health messages.
        events_days: Events.
    """

    results_days: float | None = None
    minutes_days: float | None = 90.0
    health_days: float | None = 30.0
    events_days: float | None = 365.0


class Store(Protocol):
    """Every result exactly once, under the key (site, station, epoch, seq); one writer at a time.

    Blocking; the caller brings a thread. Safe to call from several threads.
    """

    def commit(self, batch: Batch, *, now_ns: int) -> Committed:
        """Store all of the batch in one transaction, and return when it is on the medium.

        Results that are there already change nothing and are counted. Counters, the ranges that receipts are made
        of, and the last words of each station are part of the same transaction: a monitor that starts again goes
        on exactly where the last commit ended.

        A receipt's ranges hold what is stored, and what the station has announced that it will never send
        (`Birth.oldest`, `Health.oldest`, `Pack.gone`).

        Raises:
            StoreError: The medium refuses; nothing of the batch was stored. Whatever else is raised says that the
                batch holds what this store cannot; nothing of it was stored either.
        """

    def prune(self, limits: Limits, *, now_ns: int) -> int:
        """Delete a bounded number of old rows; returns how many: call again until that is 0.

        What raw results were is in minutes, and minutes become hours, which charts still show. Receipts and
        counters stay as they are, and a resend of what was deleted is refused still.

        Raises:
            StoreError: Nothing was deleted.
        """

    def roll_up(self) -> int:
        """Roll a bounded number of new results into minutes; returns how many: call again until that is 0.

        Charts over long ranges read minutes, and raw only what is in none yet. Results themselves stay. Where there is
        nothing to roll up, former epochs of which nothing is missing are settled: totals and lists pass them over, and
        a resend is refused still.

        Raises:
            StoreError: Nothing was rolled up.
        """

    def close(self) -> None:
        """Close; what was committed stays."""
