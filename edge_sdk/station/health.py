"""Health: what the station says of itself now and then."""

from __future__ import annotations

from collections.abc import Mapping

from edge_sdk.base.clock import Clock, ClockState, to_datetime
from edge_sdk.contract.events import Health, ModelLatency
from edge_sdk.outbox.base import Outbox
from edge_sdk.runtime.latency import Latency
from edge_sdk.station.inputs import summaries
from edge_sdk.station.vitals import Vitals
from edge_sdk.station.works import Works


def health_of(
    station: str, *, works: Works, outbox: Outbox, vitals: Vitals, counters: Mapping[str, int], clock: Clock
) -> Health:
    """The numbers of this moment.

    Args:
        station: The station's id.
        works: What runs.
        outbox: What waits.
        vitals: How the machine does.
        counters: Everything counted since the start.
        clock: When it is, and whether that can be believed.
    """
    stats = outbox.stats()
    unsynced = ("clock_unsynced",) if clock.state() is ClockState.UNSYNCED else ()
    throttled = tuple(f"throttled.{why}" for why in vitals.throttled)
    return Health(
        station=station,
        t=to_datetime(clock.wall_ns()),
        outbox_rows=stats.rows,
        outbox_bytes=stats.file_bytes,
        epoch=outbox.epoch,
        oldest=stats.oldest,
        counters=dict(counters),
        sensors={name: state.value for name, state in works.engine.sensors.items()},
        temperature_c=vitals.temperature_c,
        throttled=vitals.throttled,
        rss_bytes=vitals.rss_bytes,
        card_written_bytes=vitals.card_written_bytes,
        latencies={
            f"{stream}.{model}": _told(latency) for (stream, model), latency in works.latencies.items() if len(latency)
        },
        inputs=summaries(works.streams),
        flags=unsynced + throttled + works.flags,
    )


def _told(latency: Latency) -> ModelLatency:
    def quantile_ms(share: float) -> float:
        return round((latency.quantile_s(share) or 0.0) * 1e3, 3)

    return ModelLatency(windows=len(latency), p50_ms=quantile_ms(0.5), p99_ms=quantile_ms(0.99))
