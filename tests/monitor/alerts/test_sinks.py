"""Sinks: notices reach real servers on loopback."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import anyio
import pytest

from edge_sdk.base.errors import ConfigError, PluginError, TransportError
from edge_sdk.monitor.alerts.book import AlertNotice, Told
from edge_sdk.monitor.alerts.sinks import open_sink
from edge_sdk.mqtt.paho import PahoTransport
from edge_sdk.mqtt.transport import BrokerAddress
from tests.brokers import free_port, mosquitto

NOTICE = AlertNotice(
    id="hot-1-1", rule="hot", severity="error", fires=True, t_ns=1,
    stations=(Told(site="north", station="gate-1", why="processor at 90 °C"),),
)  # fmt: skip


@contextmanager
def web() -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """An HTTP server that keeps what is posted."""
    posted: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(500 if self.path == "/broken" else 204)
            self.end_headers()

        def log_message(self, format: str, *given: object) -> None:
            """Keep quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", posted
        server.shutdown()
        thread.join()


def test_a_webhook_gets_the_notice_as_json(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    with web() as (url, posted):
        open_sink("webhook", {"url": url, "token_file": "token"}, directory=tmp_path).send(NOTICE)

    [(headers, body)] = posted
    assert json.loads(body)["stations"] == [{"site": "north", "station": "gate-1", "why": "processor at 90 °C"}]
    assert headers["Authorization"] == "Bearer secret"
    assert headers["Idempotency-Key"] == "hot-1-1"


def test_ntfy_gets_text_with_a_title(tmp_path: Path) -> None:
    with web() as (url, posted):
        open_sink("ntfy", {"url": f"{url}/edge"}, directory=tmp_path).send(NOTICE)

    [(headers, body)] = posted
    assert body.decode() == "north/gate-1: processor at 90 °C"
    assert headers["Title"] == "ALERT: hot, north/gate-1"
    assert headers["Priority"] == "high"


def test_a_server_that_fails_or_is_away_can_be_tried_again(tmp_path: Path) -> None:
    with web() as (url, _), pytest.raises(TransportError, match="500"):
        open_sink("webhook", {"url": f"{url}/broken"}, directory=tmp_path).send(NOTICE)
    with pytest.raises(TransportError):
        open_sink("webhook", {"url": f"http://127.0.0.1:{free_port()}"}, directory=tmp_path).send(NOTICE)


def test_a_mail_is_sent(tmp_path: Path) -> None:
    lines: list[str] = []

    class Smtp(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            in_data = False
            while line := self.rfile.readline().decode().rstrip("\r\n"):
                lines.append(line)
                word = line.upper()
                in_data = in_data or word == "DATA"
                self.wfile.write(
                    b"354 go\r\n" if word == "DATA" else b"221 bye\r\n" if word == "QUIT" else b"250 ok\r\n"
                )
                if word == "DATA":
                    while (line := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                        lines.append(line)
                    self.wfile.write(b"250 taken\r\n")
                if word == "QUIT":
                    return

    with socketserver.TCPServer(("127.0.0.1", 0), Smtp) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        options = {"host": "127.0.0.1", "port": server.server_address[1], "sender": "edge@example.org",
                   "to": ["ada@example.org"], "starttls": False}  # fmt: skip
        open_sink("email", options, directory=tmp_path).send(NOTICE)
        thread.join()

    assert "Subject: ALERT: hot, north/gate-1" in lines
    assert any(line.lower().startswith("rcpt to:<ada@example.org>") for line in lines)


def test_mqtt_publishes_under_the_rule(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker") as broker:
        received: list[bytes] = []
        ready = threading.Event()

        async def listen() -> None:
            async with PahoTransport(BrokerAddress.parse(broker.url), client_id="listener") as transport:
                await transport.subscribe("edge-alerts/hot")
                ready.set()
                with anyio.fail_after(60):
                    received.extend(message.payload for message in await transport.receive())

        thread = threading.Thread(target=anyio.run, args=(listen,))
        thread.start()
        assert ready.wait(10)
        open_sink("mqtt", {"url": broker.url}, directory=tmp_path).send(NOTICE)
        thread.join()

    assert json.loads(received[0])["id"] == "hot-1-1"


def test_an_unknown_kind_and_an_unknown_field_are_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="Did you mean 'webhook'"):
        open_sink("webhok", {}, directory=tmp_path)
    with pytest.raises(ConfigError, match="Did you mean 'url'"):
        open_sink("webhook", {"ur": "http://x"}, directory=tmp_path)
    with pytest.raises(ConfigError, match="wanted is http"):
        open_sink("webhook", {"url": "file:///etc/passwd"}, directory=tmp_path)
