"""From starting the process to the first fused result at the broker, beside a script by hand that does the same."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks._installed import compile_ours
from benchmarks._models import three_small
from edge_sdk.contract.bundle import Bundle, write_bundle
from tests.brokers import mosquitto

ROUNDS = 5
GOAL_S = 3.0
DEADLINE_S = 60.0
TOPIC = "edge/v1/bench/start/result/exercise"

BARE = """
import sys, json
import numpy as np
import paho.mqtt.client as paho
from ai_edge_litert.interpreter import Interpreter
port, *models = sys.argv[1:]
client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
client.connect("127.0.0.1", int(port))
client.loop_start()
answers = []
for path in models:
    interpreter = Interpreter(model_path=path, num_threads=1)
    interpreter.allocate_tensors()
    spec = interpreter.get_input_details()[0]
    interpreter.set_tensor(spec["index"], np.zeros(spec["shape"], spec["dtype"]))
    interpreter.invoke()
    out = interpreter.get_output_details()[0]
    scale, zero = out["quantization"]
    answers.append((interpreter.get_tensor(out["index"]).astype(np.float64).ravel() - zero) * (scale or 1.0))
fused = np.exp(np.mean(np.log(np.clip(answers, 1e-9, 1)), axis=0))
message = json.dumps({"probabilities": (fused / fused.sum()).tolist()})
client.publish("TOPIC", message, qos=1).wait_for_publish()
sys.stdin.read()
""".replace("TOPIC", TOPIC)


def configured(directory: Path, bundles: dict[str, Bundle], port: int) -> Path:
    """Three sensors whose first window is there at once."""
    models = []
    for name, bundle in bundles.items():
        quick = msgspec.structs.replace(bundle.manifest.windowing, rate_hz=20_000.0)
        path = directory / f"{name}.edge"
        write_bundle(path, msgspec.structs.replace(bundle.manifest, windowing=quick), bundle.files, key=None)
        models.append({"bundle": str(path), "sensor": name, "runtime": "litert"})
    sensor = {"kind": "simulated", "options": {"rate_hz": 20_000, "block_s": 0.05, "channels": 3, "mean": 0}}
    config = {
        "site": "bench",
        "station": "start",
        "state_directory": str(directory / "state"),
        "trust": {"allow_unsigned": True},
        "broker": {"url": f"mqtt://127.0.0.1:{port}", "delivery": "broker"},
        "sensors": dict.fromkeys(bundles, sensor),
        "streams": {"exercise": {"models": models}},
    }
    path = directory / "station.yaml"
    path.write_bytes(msgspec.yaml.encode(config))
    return path


def seconds_to_first(command: Sequence[str], port: int) -> float:
    """From starting it to the first message on the topic."""
    ready, came = threading.Event(), threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.on_connect = lambda connected, *_: connected.subscribe(TOPIC)
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = lambda *_: came.set()
    client.connect("127.0.0.1", port)
    client.loop_start()
    assert ready.wait(DEADLINE_S)
    begun = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert came.wait(DEADLINE_S), "no result came"
        taken = time.perf_counter() - begun
        process.terminate()
    client.disconnect()
    client.loop_stop()
    return taken


def main() -> None:
    compile_ours()
    taken = []
    with tempfile.TemporaryDirectory() as name, mosquitto(Path(name) / "broker") as broker:
        directory = Path(name)
        bundles = three_small(directory)
        models = []
        for sensor, bundle in bundles.items():
            (directory / f"{sensor}.tflite").write_bytes(bundle.files["int8.tflite"])
            models.append(str(directory / f"{sensor}.tflite"))
        config = configured(directory, bundles, broker.port)
        for _ in range(ROUNDS):
            bare = seconds_to_first([sys.executable, "-c", BARE, str(broker.port), *models], broker.port)
            command = [sys.executable, "-m", "edge_sdk.cli", "station", "run", str(config), "--drain-s", "0"]
            taken.append((seconds_to_first(command, broker.port), bare))
    ours = statistics.median(station for station, _ in taken)
    row = {
        "name": "station_start_s",
        "ours": round(ours, 2),
        "baseline": round(statistics.median(bare for _, bare in taken), 2),
        "unit": "s to the first result at the broker; ratio is ours",
        "ratio": round(ours, 2),
        "goal": GOAL_S,
        "better": "lower",
        "rounds": ROUNDS,
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
