"""The workshop: from a trained model to a bundle that is right on its board. Never installed on a device."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from converters.pipeline import Conversion, convert
    from converters.recipe import Recipe
    from converters.report import VariantReport

_HOME = {
    "Conversion": "converters.pipeline",
    "Recipe": "converters.recipe",
    "VariantReport": "converters.report",
    "convert": "converters.pipeline",
}

__all__ = ["Conversion", "Recipe", "VariantReport", "convert"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'converters' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
