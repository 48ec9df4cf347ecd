"""Plug-ins: entry points, ours and everybody else's alike, loaded when named and not before."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
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
def found(group: str) -> dict[str, EntryPoint]:
    """Every plug-in of a group, by name; none is loaded. Raises nothing."""
    return {point.name: point for point in sorted(entry_points(group=group), key=lambda point: point.name)}


def load(group: str, name: str) -> Any:
    """Load the plug-in `name` of `group`.

    Raises:
        PluginError: No plug-in has that name; the message offers the nearest.
        MissingExtraError: It is there, and the library it stands on is not.
    """
    points = found(group)
    if name not in points:
        kind = group.rpartition(".")[2].replace("_", " ")
        raise PluginError(f"{name!r} is not among the {kind}. {nearest(name, points)}")
    try:
        return points[name].load()
    except ModuleNotFoundError as error:
        raise missing_extra(f"{name!r} ({group})", error) from error


def missing_extra(what: str, error: ModuleNotFoundError) -> Exception:
    """Turn a failed import into the error that says what to install, or give it back where no extra helps."""
    extra = _EXTRA_OF.get((error.name or "").partition(".")[0])
    return MissingExtraError(what, extra=extra) if extra else error
