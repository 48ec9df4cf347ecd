"""Numbers reach a collector by OTLP."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from edge_sdk.base.clock import ManualClock
from edge_sdk.monitor.alerts.book import AlertBook
from edge_sdk.monitor.store.reader import StoreReader
from edge_sdk.monitor.store.sqlite import SqliteStore
from edge_sdk.monitor.verify import verify_all
from tests.monitor.talk import Talker

GATE = Talker()


class Collector(ThreadingHTTPServer):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[bytes] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.bodies.append(gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body)
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_the_numbers_reach_a_collector(tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    from edge_sdk.monitor.opentelemetry import exporting

    store, clock = SqliteStore(tmp_path / "monitor.db"), ManualClock()
    said = [GATE.birth(), GATE.status(), GATE.pack(range(1, 8)), GATE.health(backlog=3)]
    store.commit(verify_all(said, max_payload_bytes=1 << 20), now_ns=clock.wall_ns())
    collector = Collector()
    book = AlertBook(tmp_path / "alerts", [], [])
    with (
        StoreReader(tmp_path / "monitor.db") as reader,
        exporting(f"http://127.0.0.1:{collector.server_port}", 3600, reader, book, clock),
    ):
        pass
    collector.shutdown()
    collector.server_close()
    book.close()
    store.close()

    request = ExportMetricsServiceRequest.FromString(collector.bodies[-1])
    metrics = {one.name: one for one in request.resource_metrics[0].scope_metrics[0].metrics}
    assert metrics["edge.results.stored"].sum.data_points[0].as_int == 7
    assert metrics["edge.station.backlog"].gauge.data_points[0].as_int == 3
    assert metrics["edge.stations"].gauge.data_points[0].attributes[0].value.string_value == "online"
