"""The wire, described for others: JSON Schema of every message and one AsyncAPI 3 document, made from the types.

``python -m edge_sdk.contract.wire docs/reference`` writes ``messages.schema.json`` and ``asyncapi.json``;
a test says when they are stale.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from edge_sdk.base.ids import ID_PATTERN
from edge_sdk.contract.command import Answer, Command
from edge_sdk.contract.envelope import Pack, ResultMessage
from edge_sdk.contract.events import Birth, Health, StationEvent, Status
from edge_sdk.contract.receipt import Receipt
from edge_sdk.contract.topics import ROOT, Kind

_SCHEMA_ID = "https://json-schema.org/draft/2020-12/schema"

# Kind of message: its type, its summary, whether it is retained, who sends it, and what follows the kind in its topic.
_MESSAGES: tuple[tuple[Kind, type, str, bool, str, str], ...] = (
    (Kind.BIRTH, Birth, "Who a station is and what really runs on it", True, "station", ""),
    (Kind.STATUS, Status, "Whether it is there; `offline` is its last will", True, "station", ""),
    (Kind.RESULT, ResultMessage, "One fused result, at once", False, "station", "stream"),
    (Kind.PACK, Pack, "Many results in one message: how a backlog drains", False, "station", ""),
    (Kind.HEALTH, Health, "Numbers of the last minute or so", False, "station", ""),
    (Kind.EVENT, StationEvent, "Something happened", False, "station", "severity"),
    (Kind.RECEIPT, Receipt, "What the monitor has stored: the station forgets those results", True, "monitor", ""),
    (Kind.CMD, Command, "A command to one station, which must allow it", False, "operator", "verb/id"),
    (Kind.ACK, Answer, "How a command went", False, "station", "id"),
)
_SEGMENTS = {
    "site": "The site's id.",
    "station": "The station's id.",
    "stream": "One of the station's streams.",
    "severity": "`info`, `warning` or `error`.",
    "verb": "What is to be done.",
    "id": "The command's id.",
}


def json_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of every message, under ``$defs``."""
    _, parts = msgspec.json.schema_components([kind for _, kind, *_ in _MESSAGES])
    return {
        "$schema": _SCHEMA_ID,
        "title": "Edge SDK messages",
        "description": "A reader ignores fields that it does not know; a payload with another `v` is not for it.",
        "$defs": dict(sorted(parts.items())),
    }


def asyncapi() -> dict[str, Any]:
    """AsyncAPI 3.0 document of every topic."""
    _, parts = msgspec.json.schema_components(
        [kind for _, kind, *_ in _MESSAGES], ref_template="#/components/schemas/{name}"
    )
    channels, operations, messages = {}, {}, {}
    for kind, type_, summary, retained, sender, tail in _MESSAGES:
        name = type_.__name__
        behind = tail.split("/") if tail else []
        segments = ["site", "station", *behind]
        address = f"{ROOT}/{{site}}/{{station}}/{kind.value}" + "".join(f"/{{{segment}}}" for segment in behind)
        messages[name] = {
            "name": name,
            "summary": summary,
            "contentType": "application/json",
            "payload": {"$ref": f"#/components/schemas/{name}"},
        }
        channels[kind.value] = {
            "address": address,
            "messages": {name: {"$ref": f"#/components/messages/{name}"}},
            "parameters": {segment: {"description": _SEGMENTS[segment]} for segment in segments},
        }
        operations[f"{sender}_sends_{kind.value}"] = {
            "action": "send",
            "channel": {"$ref": f"#/channels/{kind.value}"},
            "summary": f"The {sender} sends it: {summary[0].lower()}{summary[1:]}.",
            "bindings": {"mqtt": {"qos": 1, "retain": retained, "bindingVersion": "0.2.0"}},
        }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Edge SDK",
            "version": ROOT.rpartition("/")[2],
            "description": f"Stations, their results and their monitor. Ids match `{ID_PATTERN}`.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": dict(sorted(parts.items()))},
    }


def documents() -> dict[str, str]:
    """The files, by name."""
    return {
        "messages.schema.json": _text(json_schema()),
        "asyncapi.json": _text(asyncapi()),
    }


def _text(document: dict[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def _main(directory: Path) -> None:
    for name, text in documents().items():
        (directory / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
