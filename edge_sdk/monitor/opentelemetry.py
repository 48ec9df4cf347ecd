"""The monitor's numbers to an OpenTelemetry collector, by OTLP over HTTP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from edge_sdk import __version__
from edge_sdk.base.clock import Clock
from edge_sdk.monitor.alerts.book import AlertBook
from edge_sdk.monitor.store.reader import StoreReader
from edge_sdk.monitor.store.views import Fleet

_COUNTERS = {
    "edge.results.stored": "results",
    "edge.results.duplicate": "duplicates",
    "edge.results.conflict": "conflicts",
    "edge.results.given_up": "given_up",
    "edge.messages.quarantined": "quarantined",
    "edge.messages.received": "received",
}
_Observe = Callable[[CallbackOptions], Iterable[Observation]]


@contextmanager
def exporting(url: str, interval_s: float, reader: StoreReader, book: AlertBook, clock: Clock) -> Iterator[None]:
    """Send the numbers every `interval_s` until the end of the block, and once more then.

    Args:
        url: The collector, ``http://HOST:4318``; metrics go below ``/v1/metrics``.
        interval_s: How often.
        reader: The store; of its own.
        book: The alerts.
        clock: The time.
    """
    exporter = OTLPMetricExporter(endpoint=f"{url.rstrip('/')}/v1/metrics", timeout=10)
    periodic = PeriodicExportingMetricReader(exporter, export_interval_millis=interval_s * 1000)
    resource = Resource.create({"service.name": "edge-monitor", "service.version": __version__})
    provider = MeterProvider([periodic], resource, shutdown_on_exit=False)
    meter = provider.get_meter("edge_sdk.monitor", __version__)

    def fleet() -> Fleet:
        return reader.fleet(now_ns=clock.wall_ns())

    def total(field: str) -> _Observe:
        return lambda options: [Observation(getattr(reader.counters(), field))]

    def states(options: CallbackOptions) -> Iterable[Observation]:
        found = Counter(one.state for one in fleet().stations)
        return [Observation(count, {"state": state}) for state, count in found.items()]

    def alerts(options: CallbackOptions) -> Iterable[Observation]:
        found = Counter((one.rule, one.severity) for one in book.firing())
        return [Observation(count, {"rule": rule, "severity": severity}) for (rule, severity), count in found.items()]

    def backlog(options: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(one.backlog, {"site": one.site, "station": one.station})
            for one in fleet().stations
            if one.backlog is not None
        ]

    def temperature(options: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(one.temperature_c, {"site": one.site, "station": one.station})
            for one in fleet().stations
            if one.temperature_c is not None
        ]

    for name, field in _COUNTERS.items():
        meter.create_observable_counter(name, [total(field)])
    meter.create_observable_gauge("edge.stations", [states])
    meter.create_observable_gauge("edge.alerts.firing", [alerts])
    meter.create_observable_gauge("edge.station.backlog", [backlog])
    meter.create_observable_gauge("edge.station.temperature", [temperature], unit="Cel")
    try:
        yield
    finally:
        provider.shutdown(timeout_millis=10_000)
