"""Edge SDK: several local sensor models on one small board, fused, and every result delivered.

The names below are loaded when first used, so that ``import edge_sdk`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_sdk.base.errors import EdgeError
    from edge_sdk.contract.bundle import Bundle, read_bundle, write_bundle
    from edge_sdk.contract.reading import Reading
    from edge_sdk.contract.result import FusedResult
    from edge_sdk.contract.trust import PublicKey, SigningKey, Trust
    from edge_sdk.contract.window import Window
    from edge_sdk.inference.model import Model
    from edge_sdk.mqtt.subscriber import Subscriber
    from edge_sdk.runtime.pipeline import Pipeline

_HOME = {
    "Bundle": "edge_sdk.contract.bundle",
    "EdgeError": "edge_sdk.base.errors",
    "FusedResult": "edge_sdk.contract.result",
    "Model": "edge_sdk.inference.model",
    "Pipeline": "edge_sdk.runtime.pipeline",
    "PublicKey": "edge_sdk.contract.trust",
    "Reading": "edge_sdk.contract.reading",
    "SigningKey": "edge_sdk.contract.trust",
    "Subscriber": "edge_sdk.mqtt.subscriber",
    "Trust": "edge_sdk.contract.trust",
    "Window": "edge_sdk.contract.window",
    "read_bundle": "edge_sdk.contract.bundle",
    "write_bundle": "edge_sdk.contract.bundle",
}

__version__ = "0.1.0"
__all__ = [
    "Bundle",
    "EdgeError",
    "FusedResult",
    "Model",
    "Pipeline",
    "PublicKey",
    "Reading",
    "SigningKey",
    "Subscriber",
    "Trust",
    "Window",
    "read_bundle",
    "write_bundle",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'edge_sdk' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
