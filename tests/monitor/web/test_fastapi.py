"""The REST API: described as it is, and not to be knocked over."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.brokers import mosquitto
from tests.monitor.talk import Talker
from tests.monitor.test_program import Running, monitor, publish, wait

GATE = Talker()
NUMBERS = st.integers(-(1 << 70), 1 << 70).map(str)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
PARAMETERS = (
    "site",
    "station",
    "stream",
    "since",
    "until",
    "limit",
    "start_ns",
    "end_ns",
    "points",
    "picks",
    "since_rev",
)
PATHS = (
    "/api/stations",
    "/api/results",
    "/api/chart",
    "/api/backlog",
    "/api/events",
    "/api/quarantine",
    "/api/counters",
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("api")
    with mosquitto(directory / "broker") as broker, monitor(directory, broker.url) as started:
        wait(lambda: started.get("/healthz")["broker"])
        publish(broker.port, [GATE.birth(), GATE.status(), GATE.pack(range(1, 31)), GATE.health(30), GATE.event("a.b")])
        publish(broker.port, [GATE.result(1), Talker(station="x").result(1)])
        wait(lambda: started.get("/api/counters")["received"] == 7)
        yield started


def ask(running: Running, path: str, *, method: str = "GET", body: bytes | None = None) -> tuple[int, Any]:
    assert running.url is not None
    connection = http.client.HTTPConnection(running.url.removeprefix("http://"), timeout=10)
    connection.request(method, path, body, {"Sec-Fetch-Site": "same-origin"})
    try:
        answer = connection.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if content else None
    finally:
        connection.close()


def test_answers_are_as_the_openapi_document_says(running: Running) -> None:
    _, document = ask(running, "/api/openapi.json")
    last = ask(running, "/api/results?limit=1")[1][0]["t_ns"]
    place = {"site": "north", "station": "gate-1"}
    chart = urlencode({**place, "stream": "activity", "start_ns": last - 60 * 10**9, "end_ns": last + 1})
    asked = {
        "/healthz": "/healthz",
        "/api/stations": "/api/stations",
        "/api/stations/{site}/{station}": "/api/stations/north/gate-1",
        "/api/results": "/api/results?station=gate-1",
        "/api/chart": f"/api/chart?{chart}",
        "/api/backlog": f"/api/backlog?{chart.replace('stream=activity&', '')}",
        "/api/events": "/api/events",
        "/api/quarantine": "/api/quarantine",
        "/api/counters": "/api/counters",
        "/api/alerts": "/api/alerts",
        "/api/me": "/api/me",
    }
    for path, real in asked.items():
        status, answer = ask(running, real)
        schema = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        jsonschema.validate(answer, {**schema, "components": document["components"]})
        assert status == 200, real


def test_every_type_in_the_openapi_document_is_there(running: Running) -> None:
    _, document = ask(running, "/api/openapi.json")

    def refs(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                yield node["$ref"]
            for value in node.values():
                yield from refs(value)
        elif isinstance(node, list):
            for value in node:
                yield from refs(value)

    named = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(refs(document)) <= named


@settings(max_examples=60)
@given(path=st.sampled_from(PATHS), query=st.dictionaries(st.sampled_from(PARAMETERS), NUMBERS | TEXT, max_size=8))
def test_no_query_knocks_it_over(running: Running, path: str, query: dict[str, str]) -> None:
    status, _ = ask(running, f"{path}?{urlencode(query)}")

    assert status in {200, 422}


@settings(max_examples=30)
@given(
    path=st.sampled_from(["/api/alerts/acknowledge", "/api/alerts/silence", "/api/login"]),
    body=st.binary(max_size=50)
    | st.dictionaries(TEXT, NUMBERS | TEXT, max_size=4).map(lambda one: json.dumps(one).encode()),
)
def test_no_body_knocks_it_over(running: Running, path: str, body: bytes) -> None:
    status, _ = ask(running, path, method="POST", body=body)

    assert status in {204, 404, 422, 401, 429}


def test_an_unknown_station_is_not_there(running: Running) -> None:
    assert ask(running, "/api/stations/north/nowhere")[0] == 404
