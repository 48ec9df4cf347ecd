"""Kept results: the rows that anybody can compare, and the details that belong to one task, in two files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

_PROMISED = ("task", "split", "rows")


def write(answer: Mapping[str, Any], target: Path) -> None:
    """Write ``task``, ``split`` and ``rows`` to `target`, and the rest beside it, to ``NAME_details.json``."""
    rest = {key: part for key, part in answer.items() if key not in _PROMISED}
    _write({key: answer[key] for key in _PROMISED}, target)
    _write(rest, target.with_name(f"{target.stem}_details.json"))


def _write(given: Mapping[str, Any], target: Path) -> None:
    target.write_bytes(msgspec.json.format(msgspec.json.encode(given), indent=1) + b"\n")
