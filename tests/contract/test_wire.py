"""The documents that describe the wire are fresh, valid, and true of what is sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from edge_sdk.base.clock import to_datetime
from edge_sdk.contract.envelope import OutboxRow, encode_body, encode_pack, encode_result
from edge_sdk.contract.events import Birth, Health, StationEvent, StationState, Status, encode_event
from edge_sdk.contract.receipt import Receipt, encode_receipt
from edge_sdk.contract.wire import asyncapi, documents, json_schema
from tests.outbox.test_outbox import result

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
MOMENT = to_datetime(1_767_225_600_000_000_000)
ROW = OutboxRow(7, "occupancy", encode_body(result(3)), 0)

SENT = {
    "ResultMessage": encode_result(ROW, station="gate-7", epoch="00ff"),
    "Pack": encode_pack([ROW, ROW], station="gate-7", epoch="00ff"),
    "Receipt": encode_receipt(Receipt(v=1, epoch="00ff", stored=((1, 2), (4, 9)))),
    "Status": encode_event(Status(station="gate-7", state=StationState.ONLINE)),
    "Birth": encode_event(Birth(site="lab", station="gate-7", epoch="00ff", version="1", board="", started=MOMENT)),
    "Health": encode_event(Health(station="gate-7", t=MOMENT)),
    "StationEvent": encode_event(StationEvent(station="gate-7", t=MOMENT, name="sensor.lost", message="gone")),
}


@pytest.mark.parametrize("name", sorted(documents()))
def test_the_committed_document_is_fresh(name: str) -> None:
    committed = (REFERENCE / name).read_text(encoding="utf-8")

    assert committed == documents()[name], "stale: run python -m edge_sdk.contract.wire docs/reference"


@pytest.mark.parametrize("name", sorted(SENT))
def test_what_is_sent_is_valid_by_the_schema(name: str) -> None:
    schema = {"$ref": f"#/$defs/{name}", **json_schema()}

    validator = jsonschema.Draft202012Validator(schema)

    validator.validate(json.loads(SENT[name]))
    broken = {**json.loads(SENT[name]), "v": "one"}
    assert not validator.is_valid(broken)


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = asyncapi()

    def follow(node: Any) -> None:
        if isinstance(node, dict):
            if "$ref" in node:
                found: Any = document
                for part in node["$ref"].removeprefix("#/").split("/"):
                    found = found[part]
            for value in node.values():
                follow(value)
        elif isinstance(node, list):
            for value in node:
                follow(value)

    follow(document)
    assert document["channels"]["result"]["address"] == "edge/v1/{site}/{station}/result/{stream}"
    assert msgspec.json.encode(document)
