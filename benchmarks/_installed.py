"""Our code as pip leaves it, compiled: else what was edited is compiled at every start, which takes time and memory."""

from __future__ import annotations

import compileall
from pathlib import Path

import edge_sdk


def compile_ours() -> None:
    """Compile what was edited since the last time."""
    compileall.compile_dir(Path(edge_sdk.__file__).parent, quiet=1)
