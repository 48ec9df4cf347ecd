"""What a station does without that it was not asked for, or that it does not need any more once it runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.station.process import numbered, started, wait_for

UNASKED = {
    "edge_sdk.fusion.chain",
    "edge_sdk.inference.standby",
    "edge_sdk.station.governing",
    "edge_sdk.station.remote.commander",
    "edge_sdk.station.status.server",
}
# Each brings hundreds of names and half a megabyte or more.
UNNEEDED = {
    "click",
    "csv",
    "edge_sdk.base.terminal",
    "edge_sdk.station.cli",
    "importlib.metadata",
    "importlib.resources",
    "stringprep",
}
_SAYS_WHAT_IT_LOADED = """
import atexit, sys
atexit.register(lambda: print(*sys.modules, file=open("modules.txt", "w")))
from edge_sdk.cli import main
main()
"""


def test_code_for_what_is_not_configured_is_not_loaded() -> None:
    code = "import sys, edge_sdk.station.remote.start; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert "edge_sdk.station.station" in loaded
    assert not UNASKED & set(loaded)


def test_a_station_that_has_worked_has_loaded_nothing_heavy_that_it_does_not_need(config: Path) -> None:
    file = config.parent / "modules.txt"
    code = _SAYS_WHAT_IT_LOADED.replace("modules.txt", str(file))

    with started([sys.executable, "-c", code, "station", "run", str(config)], config.parent) as station:
        station.says("bridge is connected")
        wait_for(lambda: numbered(config.parent) > 0)
        assert station.stop() == 0

    loaded = set(file.read_text().split())
    assert "edge_sdk.mqtt.paho" in loaded
    assert not (UNASKED | UNNEEDED) & loaded
