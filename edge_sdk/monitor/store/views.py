"""What readers of the store are given; the JSON of the REST API is made from these types."""

from __future__ import annotations

import msgspec

from edge_sdk.contract.events import Birth, Health
from edge_sdk.contract.result import FusedResult


class StoredResult(msgspec.Struct, frozen=True, kw_only=True):
    """One result as it is stored.

    Attributes:
        site: The site's id.
        station: The station's id.
        epoch: The outbox that numbered it.
        seq: Its number there.
        t_ns: Event time, nanoseconds since the Unix epoch.
        observed_ns: When its last sample reached the station, by the station's clock.
        stored_ns: When the monitor stored it, by the monitor's clock.
        backlog: Whether it waited because the station could not send.
        body: JSON of the `FusedResult`.
    """

    site: str
    station: str
    epoch: str
    seq: int
    t_ns: int
    observed_ns: int
    stored_ns: int
    backlog: bool
    body: msgspec.Raw

    @property
    def result(self) -> FusedResult:
        """The fused result itself."""
        return msgspec.json.decode(self.body, type=FusedResult)


class Latest(msgspec.Struct, frozen=True, kw_only=True):
    """The newest result of one stream.

    Attributes:
        stream: The stream.
        t_ns: Event time, nanoseconds since the Unix epoch.
        label: The fused label, or None.
        confidence: Its probability.
        value: The fused estimate (regression).
        unit: Its unit.
        degraded: Whether a contributor was missing.
    """

    stream: str
    t_ns: int
    label: str | None
    confidence: float | None
    value: float | None
    unit: str | None
    degraded: bool


class StationView(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the fleet.

    Attributes:
        site: The site's id.
        station: The station's id.
        state: ``online``, ``silent`` (should be online and says nothing), ``stopping``, ``offline``, ``unknown``.
        state_ns: When the broker last told of a change.
        last_seen_ns: When it last said anything, by the monitor's clock.
        version: Of its software.
        board: What it runs on.
        backends: Runtimes and delegates really in use.
        fallback: What was asked for and is not in use; empty when all is as asked.
        latitude: Degrees north.
        longitude: Degrees east.
        backlog: Results that wait in its outbox.
        temperature_c: Of its processor.
        streams: The newest result of each stream.
    """

    site: str
    station: str
    state: str
    state_ns: int
    last_seen_ns: int
    version: str
    board: str
    backends: str
    fallback: str
    latitude: float | None
    longitude: float | None
    backlog: int | None
    temperature_c: float | None
    streams: list[Latest]


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """Stations, and the number of the commit they were read after.

    Attributes:
        rev: Hand it back to get only what has changed since.
        now_ns: The monitor's clock.
        silent_after_ns: After so long without a word, an online station counts as silent.
        stations: By site and station.
    """

    rev: int
    now_ns: int
    silent_after_ns: int
    stations: list[StationView]


class SourceView(msgspec.Struct, frozen=True, kw_only=True):
    """One epoch of a station's outbox.

    Attributes:
        epoch: Its random id.
        stored: Results ever stored.
        given_up: Results that the station announced it will never send.
        missing: Numbers between the ranges: on their way, or to be given up.
        highest: Highest number seen.
    """

    epoch: str
    stored: int
    given_up: int
    missing: int
    highest: int


class StationDetail(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of one station.

    Attributes:
        view: Its row of the fleet.
        epoch: The outbox it uses now.
        birth: What it said when it was born.
        health: The last numbers.
        stored: Results ever stored, of all its epochs.
        given_up: Results that it announced it will never send.
        missing: Numbers that have not come yet.
        sources: Its outbox's epochs, newest last; without former ones of which nothing is missing.
    """

    view: StationView
    epoch: str
    birth: Birth | None
    health: Health | None
    stored: int
    given_up: int
    missing: int
    sources: list[SourceView]


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """Results of one stretch of a chart.

    Attributes:
        t_ns: Where it begins.
        count: How many results fell into it.
        label: The most frequent label.
        share: That label's share of the count, 0 to 1.
        confidence: Mean confidence of that label.
        value: Mean value (regression).
        low: Lowest value.
        high: Highest value.
    """

    t_ns: int
    count: int
    label: str | None
    share: float
    confidence: float | None
    value: float | None
    low: float | None
    high: float | None


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """One stream of a station over time, down-sampled in the store.

    Attributes:
        start_ns: Beginning of the range.
        end_ns: End of the range.
        width_ns: Width of a bucket.
        buckets: Those that hold results, in order of time.
        picks: One whole result from each of some buckets: the contributors over time.
    """

    start_ns: int
    end_ns: int
    width_ns: int
    buckets: list[Bucket]
    picks: list[StoredResult]


class BacklogPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One health message, or the worst of several.

    Attributes:
        t_ns: When, by the station's clock.
        backlog: Results that waited.
        outbox_bytes: Size of the outbox.
        temperature_c: Of the processor.
        rss_bytes: Resident memory of the station's process.
    """

    t_ns: int
    backlog: int
    outbox_bytes: int
    temperature_c: float | None
    rss_bytes: int | None = None


class EventView(msgspec.Struct, frozen=True, kw_only=True):
    """Something happened on a station.

    Attributes:
        site: The site's id.
        station: The station's id.
        severity: ``info``, ``warning``, ``error``.
        t_ns: When, by the station's clock.
        name: What, as a dotted name.
        message: For a person.
        detail: Whatever helps.
    """

    site: str
    station: str
    severity: str
    t_ns: int
    name: str
    message: str
    detail: msgspec.Raw


class QuarantineView(msgspec.Struct, frozen=True, kw_only=True):
    """Messages of one topic that could not be read, for one reason.

    Attributes:
        reason: One short word.
        topic: Where they came.
        count: How many.
        first_ns: When the first came.
        last_ns: When the last came.
        head: The first bytes of the last payload, as text with escapes.
        message: What was wrong with it.
    """

    reason: str
    topic: str
    count: int
    first_ns: int
    last_ns: int
    head: str
    message: str


class Counters(msgspec.Struct, frozen=True, kw_only=True):
    """Totals of a store.

    Attributes:
        stations: Stations ever heard.
        results: Results stored.
        duplicates: Results that came again and were refused.
        conflicts: Results with a stored result's key and other content.
        given_up: Results that stations announced they will never send.
        missing: Numbers between stored ones that have not come.
        quarantined: Messages that could not be read.
        received: Messages received.
    """

    stations: int
    results: int
    duplicates: int
    conflicts: int
    given_up: int
    missing: int
    quarantined: int
    received: int
