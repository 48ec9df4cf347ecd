"""The REST API: described as it is, and not to be knocked over."""

from __future__ import annotations

import http.client
import json
import re
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
RANGE = ("site", "station", "since", "until")
PARAMETERS = {
    "/api/stations": ("since_rev",),
    "/api/results": (*RANGE, "stream", "limit"),
    "/api/chart": (*RANGE, "stream", "points", "picks"),
    "/api/backlog": (*RANGE, "points"),
    "/api/events": ("site", "station", "limit"),
    "/api/quarantine": ("limit",),
}


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
    chart = urlencode({**place, "stream": "activity", "since": last - 60 * 10**9, "until": last + 1})
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
@given(path=st.sampled_from(sorted(PARAMETERS)), data=st.data())
def test_no_query_knocks_it_over(running: Running, path: str, data: st.DataObject) -> None:
    query = data.draw(st.dictionaries(st.sampled_from(PARAMETERS[path]), NUMBERS | TEXT, max_size=8))

    status, _ = ask(running, f"{path}?{urlencode(query)}")

    assert status in {200, 422}


def test_a_parameter_that_a_path_does_not_know_is_refused_by_name(running: Running) -> None:
    _, document = ask(running, "/api/openapi.json")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            known = [one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"]

            status, answer = ask(running, f"{re.sub('{.*?}', '1', path)}?limits=1", method=method.upper())

            assert status == 422, path
            assert "limits: this path does not know it" in answer["detail"], path
            assert all(name in answer["detail"] for name in known), path


def test_a_parameter_given_twice_is_refused(running: Running) -> None:
    status, answer = ask(running, "/api/events?limit=1&limit=2")

    assert (status, answer["detail"]) == (422, "limit: it is given 2 times; wanted is once.")


def test_the_page_keeps_what_it_likes_in_its_address(running: Running) -> None:
    assert running.text("/station/north/gate-1?range=3600&stream=activity").startswith("<!doctype html>")


@pytest.mark.parametrize("path", ["/api/results?", "/api/download?", "/api/chart?stream=a&", "/api/backlog?"])
def test_a_range_that_ends_before_it_begins_is_refused(running: Running, path: str) -> None:
    status, answer = ask(running, f"{path}site=north&station=gate-1&since=2026-01-02T00:00Z&until=1000")

    assert (status, answer["detail"]) == (422, "until is '1000'; wanted is a moment after since, '2026-01-02T00:00Z'.")


def test_the_newest_results_are_downloaded_where_a_limit_is_given(running: Running) -> None:
    lines = running.text("/api/download?format=jsonl&station=gate-1&limit=2").splitlines()

    assert [json.loads(line)["seq"] for line in lines] == [29, 30]


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
