"""Plug-ins from elsewhere, for a station's process: installed by an entry point in a directory on its path."""

from __future__ import annotations

from pathlib import Path

HANGING = '''
"""A backend that answers a few times, and then no more: as a wedged accelerator does."""
import time
from edge_sdk.inference.scripted import ScriptedBackend

class Hanging(ScriptedBackend):
    runtime = "hanging"
    def run(self, inputs):
        if self._calls > 20:
            time.sleep(3600)
        return super().run(inputs)

def open_hanging(model, variant, request):
    return Hanging(model, variant, request)
'''
FAILING = '''
"""A fuser with a fault."""
import msgspec

class Failing:
    name = "failing"
    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        pass
    def __init__(self, options): self.calls = 0
    def fuse(self, predictions):
        self.calls += 1
        if self.calls > 5:
            raise ZeroDivisionError("a fault of the plug-in")
        return None
'''


def install(directory: Path, group: str, name: str, code: str, target: str) -> dict[str, str]:
    """Make `code` a plug-in; the environment in which a process finds it."""
    package = directory / "plugins"
    package.mkdir(exist_ok=True)
    (package / f"{name}_plugin.py").write_text(code)
    info = package / f"{name}_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {name}_plugin:{target}\n")
    return {"PYTHONPATH": str(package)}
