"""``station.yaml``, described for editors: one JSON Schema of the file, the options of every plug-in included.

``python -m edge_sdk.config.schema device_configs/schema`` writes ``station.schema.json``; a test says when it is stale.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from edge_sdk.base import plugins
from edge_sdk.config.station import StationConfig

FILE = "station.schema.json"
_SCHEMA_ID = "https://json-schema.org/draft/2020-12/schema"

# The struct that names a plug-in: the field with its name, and the group of plug-ins.
_NAMED_IN = {"SensorConfig": ("kind", "edge_sdk.sensors"), "FusionConfig": ("method", "edge_sdk.fusers")}


def station_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of ``station.yaml``, with the plug-ins that are installed here.

    Raises:
        MissingExtraError: A plug-in that is named by an entry point cannot be loaded for want of a library.
    """
    kinds = {
        (group, name): plugins.load(group, name).Options
        for _, group in _NAMED_IN.values()
        for name in plugins.found(group)
    }
    [whole, *options], parts = msgspec.json.schema_components([StationConfig, *kinds.values()], schema_hook=_path)
    for struct, (field, group) in _NAMED_IN.items():
        chosen = {
            name: (kind, reference)
            for ((of, name), kind), reference in zip(kinds.items(), options, strict=True)
            if of == group
        }
        _offer(parts[struct], field, chosen)
    return {
        "$schema": _SCHEMA_ID,
        "title": "station.yaml",
        "description": "The configuration of an Edge SDK station. Relative paths are relative to the file.",
        **whole,
        "$defs": dict(sorted(parts.items())),
    }


def text() -> str:
    """The file."""
    return msgspec.json.format(msgspec.json.encode(station_schema()), indent=1).decode() + "\n"


def _offer(struct: dict[str, Any], field: str, chosen: Mapping[str, tuple[type, dict[str, Any]]]) -> None:
    """Complete the plug-ins' names (others are allowed: they may come from elsewhere) and each one's options."""
    named = struct["properties"][field]
    named["anyOf"] = [{"enum": sorted(chosen)}, {"type": named.pop("type")}]
    struct["allOf"] = [
        {
            "if": {"properties": {field: {"const": name}}, "required": [field]},
            "then": {
                "properties": {"options": reference},
                **({"required": ["options"]} if field == "kind" and _wants_some(kind) else {}),
            },
        }
        for name, (kind, reference) in chosen.items()
    ]


def _wants_some(kind: type) -> bool:
    info: Any = msgspec.inspect.type_info(kind)
    return any(field.required for field in info.fields)


def _path(kind: type) -> dict[str, Any]:
    if kind is Path:
        return {"type": "string", "format": "path"}
    raise NotImplementedError(f"{kind} has no JSON Schema: give it one here.")


def _main(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / FILE).write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
