"""Memory of a station with three models beside a bare interpreter process with the same three, and its idle CPU."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from benchmarks._installed import compile_ours
from benchmarks._models import three_small
from edge_sdk.contract.bundle import Bundle, write_bundle

ROUNDS = 5
SETTLED_S = 6.0
WATCHED_S = 10.0

BARE = """
import sys, numpy
from ai_edge_litert.interpreter import Interpreter
keep = []
for path in sys.argv[1:]:
    interpreter = Interpreter(model_path=path, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.invoke()
    keep.append(interpreter)
print("ready", flush=True)
sys.stdin.read()
"""


def rss_mb(pid: int) -> float:
    """Resident memory, 10⁶ bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("no VmRSS")


def cpu_s(pid: int) -> float:
    """User and system time so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100.0


def configured(directory: Path, bundles: dict[str, Bundle]) -> Path:
    """Three sensors at 1 Hz, three models that see the last 200 s; nobody answers at the broker's address."""
    streams = []
    for name, bundle in bundles.items():
        slow = msgspec.structs.replace(bundle.manifest.windowing, rate_hz=1.0, stride=1)
        path = directory / f"{name}.edge"
        write_bundle(path, msgspec.structs.replace(bundle.manifest, windowing=slow), bundle.files, key=None)
        streams.append({"bundle": str(path), "sensor": name, "runtime": "litert"})
    config = {
        "site": "bench",
        "station": "idle",
        "state_directory": str(directory / "state"),
        "trust": {"allow_unsigned": True},
        "broker": {"url": "mqtt://127.0.0.1:1"},
        "sensors": {
            name: {"kind": "simulated", "options": {"rate_hz": 1, "channels": 3, "noise": 0}} for name in bundles
        },
        "streams": {"exercise": {"models": streams}},
    }
    path = directory / "station.yaml"
    path.write_bytes(msgspec.yaml.encode(config))
    return path


def main() -> None:
    compile_ours()
    memory, idle = [], []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        bundles = three_small(directory)
        models = []
        for sensor, bundle in bundles.items():
            (directory / f"{sensor}.tflite").write_bytes(bundle.files["int8.tflite"])
            models.append(str(directory / f"{sensor}.tflite"))
        config = configured(directory, bundles)
        for _ in range(ROUNDS):
            with subprocess.Popen(
                [sys.executable, "-c", BARE, *models],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            ) as bare:
                assert bare.stdout is not None
                assert bare.stdin is not None
                bare.stdout.readline()
                baseline = rss_mb(bare.pid)
                bare.stdin.close()
            command = [sys.executable, "-m", "edge_sdk.cli", "station", "run", str(config), "--drain-s", "0"]
            with subprocess.Popen(command, stderr=subprocess.DEVNULL) as station:
                time.sleep(SETTLED_S)
                before = cpu_s(station.pid)
                time.sleep(WATCHED_S)
                idle.append((cpu_s(station.pid) - before) / WATCHED_S * 100)
                memory.append((rss_mb(station.pid), baseline))
                station.terminate()
    resident = statistics.median(ours for ours, _ in memory)
    bare_resident = statistics.median(bare for _, bare in memory)
    for row in (
        {
            "name": "station_idle_rss_mb",
            "ours": round(resident, 1),
            "baseline": round(bare_resident, 1),
            "unit": "MB; ratio is what ours takes more",
            "ratio": round(resident - bare_resident, 1),
            "goal": 25.0,
        },
        {
            "name": "station_idle_cpu_percent",
            "ours": round(statistics.median(idle), 2),
            "baseline": 100.0,
            "unit": "% of one core; ratio is that",
            "ratio": round(statistics.median(idle), 2),
            "goal": 3.0,
        },
    ):
        print(json.dumps({**row, "better": "lower", "rounds": ROUNDS}))


if __name__ == "__main__":
    main()
