"""Plug-ins: entry points, ours and everybody else's alike, loaded when named and not before."""

from __future__ import annotations

import sys
from functools import lru_cache, reduce
from importlib import import_module
from pathlib import Path
from typing import Any

from edge_sdk.base.errors import MissingExtraError, PluginError, nearest

# Which extra brings a module: for the error that says what to install.
_EXTRA_OF = {
    "PIL": "convert",
    "ai_edge_litert": "litert",
    "ai_edge_quantizer": "convert",
    "alembic": "monitor",
    "board": "i2c",
    "cv2": "camera",
    "fastapi": "monitor",
    "iotcore": "demo",
    "keras": "convert",
    "onnx": "convert",
    "onnxruntime": "onnx",
    "onnxscript": "torch",
    "onnxslim": "convert",
    "pymodbus": "modbus",
    "opentelemetry": "otel",
    "psycopg": "postgres",
    "pyarrow": "export",
    "pyspark": "spark",
    "seglearn": "demo",
    "serial": "serial",
    "skl2onnx": "convert",
    "sounddevice": "audio",
    "sqlalchemy": "monitor",
    "tensorflow": "convert",
    "tf2onnx": "convert",
    "tflite_runtime": "tflite",
    "torch": "torch",
    "uvicorn": "monitor",
}


@lru_cache(maxsize=32)
def found(group: str) -> dict[str, str]:
    """Every plug-in of a group: where it is (``module:attribute``), by name; none is loaded. Raises nothing."""
    from importlib.metadata import entry_points

    points = {point.name: f"{point.module}:{point.attr or ''}" for point in entry_points(group=group)}
    return dict(sorted({**points, **_ours().get(group, {})}.items()))


def load(group: str, name: str) -> Any:
    """Load the plug-in `name` of `group`; a name of ours is ours, whoever else has it.

    Raises:
        PluginError: No plug-in has that name; the message offers the nearest.
        MissingExtraError: It is there, and the library it stands on is not.
    """
    where = _ours().get(group, {}).get(name) or found(group).get(name)
    if where is None:
        kind = group.rpartition(".")[2].replace("_", " ")
        raise PluginError(f"{name!r} is not among the {kind}. {nearest(name, found(group))}")
    module, _, attributes = where.partition(":")
    try:
        return reduce(getattr, filter(None, attributes.split(".")), import_module(module))
    except ModuleNotFoundError as error:
        raise missing_extra(f"{name!r} ({group})", error) from error


@lru_cache(maxsize=1)
def _ours() -> dict[str, dict[str, str]]:
    """Our own entry points, by group and name, from the file in which pip keeps them.

    importlib.metadata would read the files of all packages, and takes memory that a station has no other use for; it
    is asked for the plug-ins of others, and for ours where there is no such file, in a zip for instance.
    """
    file = next((file for path in sys.path for file in Path(path).glob("edge_sdk-*.dist-info/entry_points.txt")), None)
    groups: dict[str, dict[str, str]] = {}
    group = ""
    for line in file.read_text(encoding="utf-8").splitlines() if file else ():
        name, _, where = (part.strip() for part in line.partition("="))
        if where:
            groups.setdefault(group, {})[name] = where
        else:
            group = name.strip("[]")
    return groups


def missing_extra(what: str, error: ModuleNotFoundError) -> Exception:
    """Turn a failed import into the error that says what to install, or give it back where no extra helps."""
    extra = _EXTRA_OF.get((error.name or "").partition(".")[0])
    return MissingExtraError(what, extra=extra) if extra else error
