"""Where a library is not installed, the sensor that needs it says what to install; the others do not care."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
# A Python on which these libraries are not installed.
WITHOUT = """
import json, sys
from importlib.machinery import PathFinder
MISSING = {"serial", "pymodbus", "sounddevice", "cv2", "board", "pyarrow"}

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in MISSING else PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Finder

import msgspec
from pathlib import Path
from edge_sdk.base import plugins
from edge_sdk.base.clock import SystemClock
from edge_sdk.base.errors import MissingExtraError

said = {}
for kind, options in json.loads(sys.argv[1]).items():
    plugin = plugins.load("edge_sdk.sensors", kind)
    given = msgspec.convert(options, plugin.Options, dec_hook=lambda to, value: Path(value))
    try:
        plugin(kind, given, clock=SystemClock())
        said[kind] = "made"
    except MissingExtraError as error:
        said[kind] = str(error)
for kind in plugins.found("edge_sdk.sensors"):
    plugins.load("edge_sdk.sensors", kind).Options
print(json.dumps(said))
"""
OPTIONS = {
    "sds011": {"port": "/dev/ttyUSB0"},
    "serial_csv": {"port": "/dev/ttyUSB0", "columns": ["t"]},
    "nmea": {"port": "/dev/ttyUSB0"},
    "modbus": {"host": "127.0.0.1", "registers": {"t": {"address": 0}}},
    "microphone": {},
    "camera": {"width": 8, "height": 8},
    "image_folder": {"folder": ".", "width": 8, "height": 8},
    "replay": {"file": "any.parquet", "rate_hz": 1},
    "simulated": {},
    "http": {"url": "http://127.0.0.1/", "channels": {"t": ""}},
    "mqtt": {"topic": "t", "channels": {"t": ""}},
    "thermal": {"zones": ["cpu-thermal"]},
}
NEEDS = {
    "sds011": "serial",
    "serial_csv": "serial",
    "nmea": "serial",
    "modbus": "modbus",
    "microphone": "audio",
    "camera": "camera",
    "image_folder": "camera",
    "replay": "export",
}


def test_what_is_missing_is_told_by_the_sensor_that_needs_it_and_by_no_other() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, json.dumps(OPTIONS)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)

    for kind, extra in NEEDS.items():
        assert f"pip install 'edge-sdk[{extra}]'" in said[kind], kind
    assert {kind for kind, words in said.items() if words == "made"} == OPTIONS.keys() - NEEDS.keys()
