"""Whatever is asked of the REST API, its answers are those that its OpenAPI document describes."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from edge_sdk.monitor.accounts import Accounts, Role
from tests.brokers import mosquitto
from tests.monitor.talk import Talker
from tests.monitor.test_program import monitor, publish, wait

GATE = Talker()


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    directory = tmp_path_factory.mktemp("fuzz")
    (directory / "monitor.yaml").write_text("web: {requests_per_s: 0}\n")
    key = Accounts(directory / "monitor.db.accounts")
    key.add_user("anna", Role.ADMIN, "a long password")
    token = {"Authorization": f"Bearer {key.add_key('fuzz', Role.ADMIN)}"}
    with (
        mosquitto(directory / "broker") as broker,
        monitor(directory, broker.url, str(directory / "monitor.yaml")) as running,
    ):

        def results() -> int:
            ask = urllib.request.Request(f"{running.url}/api/counters", headers=token)
            with urllib.request.urlopen(ask) as answer:
                return int(json.load(answer)["results"])

        wait(lambda: running.get("/healthz")["broker"])
        publish(broker.port, [GATE.birth(), GATE.status(), GATE.pack(range(1, 101)), GATE.health(), GATE.event("e")])
        wait(lambda: results() == 100)
        found = schemathesis.openapi.from_url(f"{running.url}/api/openapi.json", headers=token)
        found.config.update(headers=token)
        yield found


def test_every_answer_is_one_that_the_document_describes(api: Any) -> None:
    asked = 0
    for found in api.exclude(path=["/api/live", "/api/login", "/api/logout"]).get_all_operations():
        operation = found.ok()

        @settings(max_examples=12, suppress_health_check=list(HealthCheck), database=None)
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            case.call_and_validate(excluded_checks=[positive_data_acceptance])  # that an end lies after its beginning

        ask()
        asked += 1
    assert asked >= 14
