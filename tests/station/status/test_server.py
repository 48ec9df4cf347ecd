"""The status endpoint, over real HTTP, read by Prometheus' own parser."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timezone

import anyio
import anyio.to_thread
import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge_sdk.base.errors import ConfigError
from edge_sdk.contract.events import Birth, Health
from edge_sdk.outbox.base import OutboxStats
from edge_sdk.runtime.latency import Latency
from edge_sdk.station.status.facts import Facts
from edge_sdk.station.status.metrics import render
from edge_sdk.station.status.server import StatusServer
from edge_sdk.station.vitals import Vitals

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 11, 21, 2, 0, tzinfo=timezone.utc)


def facts() -> Facts:
    latency = Latency()
    for seconds in (0.0004, 0.0006, 0.04):
        latency.took(seconds)
    counters = {"outbox.dropped": 3, "level.predictions.rejected.above_range": 2, "results.made": 9}
    return Facts(
        birth=Birth(
            site="roof", station="alone", epoch="9f3c00000000aa01", version="0.1", board='a "Pi"\\5', started=NOW
        ),
        health=Health(station="alone", t=NOW, counters=counters, sensors={"light": "lost"}, flags=("clock_unsynced",)),
        vitals=Vitals(temperatures_c={"cpu": 61.5}, throttled=("cooling",), throttled_before=("cooling",)),
        outbox=OutboxStats(rows=7, file_bytes=4096, quota_bytes=8192, oldest=1, first_waiting=1, newest=7, dropped=3),
        link="waiting",
        latencies={("level", "tiny"): latency},
        proven_age_s=1.5,
        proven_limit_s=30.0,
    )


@asynccontextmanager
async def served(ask: Callable[[], Facts] = facts) -> AsyncIterator[int]:
    server = StatusServer(ask, port=0)
    async with anyio.create_task_group() as group:
        await group.start(server.run)
        yield server.port
        group.cancel_scope.cancel()


async def get(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    def ask() -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, body

    return await anyio.to_thread.run_sync(ask)


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Every sample, by name and label values."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_prometheus_reads_every_number() -> None:
    found = samples(render(facts()))

    assert found["edge_outbox_results",] == 7
    assert found["edge_dropped_total", "outbox.dropped"] == 3
    assert found["edge_dropped_total", "level.predictions.rejected.above_range"] == 2
    assert ("edge_dropped_total", "results.made") not in found
    assert found["edge_counted_total", "results.made"] == 9
    assert found["edge_temperature_celsius", "cpu"] == 61.5
    assert found["edge_throttled", "cooling"] == 1
    assert (found["edge_link", "waiting"], found["edge_link", "connected"]) == (1, 0)
    assert (found["edge_sensor", "light", "lost"], found["edge_sensor", "light", "running"]) == (1, 0)
    assert found["edge_model_seconds_count", "tiny", "level"] == 3
    assert found["edge_model_seconds_bucket", "0.001", "tiny", "level"] == 2
    assert found["edge_model_seconds_bucket", "+Inf", "tiny", "level"] == 3
    assert found["edge_model_seconds_sum", "tiny", "level"] == pytest.approx(0.041)
    assert found["edge_station_info", 'a "Pi"\\5', "roof", "alone", "0.1"] == 1


def test_every_metric_says_what_it_is() -> None:
    families = list(text_string_to_metric_families(render(facts())))

    assert all(family.documentation.endswith(".") and family.type != "unknown" for family in families)
    assert len({family.name for family in families}) == len(families)


async def test_what_nobody_knows_is_left_out() -> None:
    bare = replace(facts(), vitals=Vitals(), latencies={})

    assert not [name for name in samples(render(bare)) if name[0].startswith(("edge_temperature", "edge_model"))]


async def test_the_endpoint_answers_programs_and_people() -> None:
    async with served() as port:
        metrics = await get(port, "/metrics")
        summary = await get(port, "/?pretty")
        health = await get(port, "/healthz")

    assert metrics == (200, render(facts()))
    assert json.loads(summary[1])["birth"]["station"] == "alone"
    assert health == (200, '{"working":true,"proven_age_s":1.5}\n')


async def test_a_station_in_which_nothing_moves_is_not_healthy() -> None:
    async with served(lambda: replace(facts(), proven_age_s=31.0)) as port:
        status, _ = await get(port, "/healthz")

    assert status == 503


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/secrets", {}, 404),
        ("POST", "/", {}, 405),
        ("GET", "/", {"Host": "evil.example"}, 403),
        ("GET", "/", {"Host": "localhost:80"}, 200),
    ],
)
async def test_only_reading_and_only_from_here(method: str, path: str, headers: dict[str, str], status: int) -> None:
    async with served() as port:
        answer = await get(port, path, method, **headers)

    assert answer[0] == status


@pytest.mark.parametrize("said", [b"\r\n\r\n", b"hello\r\n\r\n", b"GET / SPDY\r\n\r\n", b"x" * 9000, b""])
async def test_nonsense_is_refused_and_harms_nobody(said: bytes) -> None:
    def talk(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as caller:
            caller.sendall(said)
            caller.shutdown(socket.SHUT_WR)
            return caller.recv(4096)

    async with served() as port:
        answer = await anyio.to_thread.run_sync(talk, port)
        after = await get(port, "/healthz")

    assert answer == b"" or answer.startswith(b"HTTP/1.1 400")
    assert after[0] == 200


async def test_a_fault_in_the_telling_does_not_end_the_station(caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> Facts:
        raise ZeroDivisionError

    async with served(fails) as port:
        answers = [await get(port, "/healthz") for _ in range(2)]

    assert [status for status, _ in answers] == [500, 500]
    assert "status cannot be told" in caplog.text


async def test_a_port_that_is_taken_is_named() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(ConfigError, match=r"status\.port .* Choose another"),
    ):
        await StatusServer(facts, port=other.getsockname()[1]).run()
