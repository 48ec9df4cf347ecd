"""What a station does without that it was not asked for."""

from __future__ import annotations

import subprocess
import sys

UNASKED = {
    "edge_sdk.fusion.chain",
    "edge_sdk.inference.standby",
    "edge_sdk.station.governing",
    "edge_sdk.station.remote.commander",
    "edge_sdk.station.status.server",
}


def test_code_for_what_is_not_configured_is_not_loaded() -> None:
    code = "import sys, edge_sdk.station.remote.start; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert "edge_sdk.station.station" in loaded
    assert not UNASKED & set(loaded)
