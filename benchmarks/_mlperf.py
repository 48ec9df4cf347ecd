"""The MLPerf Tiny models of ``../shared/models``: converted by us, beside the reference int8 files."""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).parents[2] / "shared" / "models" / "mlperf-tiny"
OPENINGS = 9
ROUNDS = 45
N_WINDOWS = 200


@dataclass(frozen=True)
class Reference:
    """One model: its Keras source, the float file that the int8 reference was made from, the reference itself."""

    keras: str
    float_file: str
    int8_file: str
    shape: tuple[int, ...]
    high: float


_RESNET = ("pretrainedResnet.h5", "pretrainedResnet.tflite", "pretrainedResnet_quant.tflite")
MODELS = {
    "resnet8": Reference(*_RESNET, (32, 32, 3), 255),
    "vww96": Reference("vww_96.h5", "vww_96_float.tflite", "vww_96_int8.tflite", (96, 96, 3), 1),
    "ad01": Reference("ad01.h5", "ad01_fp32.tflite", "ad01_int8.tflite", (640,), 0),
}  # fmt: skip


def skip_without_models() -> None:
    """End quietly, with the reason, where the models are not."""
    if not FOLDER.is_dir():
        print(f"skipped: {FOLDER.name} is not at ../shared/models", file=sys.stderr)
        sys.exit(0)


def realistic(name: str, n: int, seed: int) -> NDArray[np.float32]:
    """Smooth images with edges at several scales; for ad01, log-mel frames that drift. Not what it was trained on."""
    rng = np.random.default_rng(seed)
    model = MODELS[name]
    if name == "ad01":
        drift = np.cumsum(rng.normal(0, 1.2, (n, 5, 128)), axis=2)
        frames = (
            drift - drift.mean(axis=2, keepdims=True) - rng.uniform(5, 40, (n, 1, 1)) + rng.normal(0, 2, (n, 5, 128))
        )
        return np.asarray(frames.reshape(n, 640), dtype=np.float32)
    height, width, channels = model.shape
    images = np.zeros((n, height, width, channels))
    for size in (2, 4, 8, 16):
        grid = rng.normal(size=(n, size, size, channels))
        ys, xs = np.linspace(0, size - 1, height), np.linspace(0, size - 1, width)
        y0, x0 = np.minimum(ys.astype(int), size - 2), np.minimum(xs.astype(int), size - 2)
        fy, fx = (ys - y0)[None, :, None, None], (xs - x0)[None, None, :, None]
        top = (1 - fx) * grid[:, y0][:, :, x0] + fx * grid[:, y0][:, :, x0 + 1]
        bottom = (1 - fx) * grid[:, y0 + 1][:, :, x0] + fx * grid[:, y0 + 1][:, :, x0 + 1]
        images += ((1 - fy) * top + fy * bottom) / (size / 2) ** 0.5
    images -= images.min(axis=(1, 2, 3), keepdims=True)
    images /= images.max(axis=(1, 2, 3), keepdims=True)
    return np.asarray(images * model.high, dtype=np.float32)


def random(name: str, n: int, seed: int) -> NDArray[np.float32]:
    """White noise over the model's input range."""
    rng = np.random.default_rng(seed)
    low, high = (-60.0, 20.0) if name == "ad01" else (0.0, MODELS[name].high)
    return rng.uniform(low, high, (n, *MODELS[name].shape)).astype(np.float32)


def ours(name: str) -> bytes:
    """Our int8 model, calibrated on other windows of both kinds than those that it is judged on."""
    os.environ.update({"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""})
    from converters.load.keras import load_keras
    from converters.quantize.tflite import write_tflite
    from converters.scheme import Scheme

    half = N_WINDOWS // 2
    data = np.concatenate([realistic(name, half, 1), random(name, half, 2)])
    data = data[np.random.default_rng(3).permutation(len(data))]
    with tempfile.TemporaryDirectory() as folder:
        loaded = load_keras(FOLDER / MODELS[name].keras, Path(folder), {})
        return write_tflite(loaded, Scheme("tflite", "int8"), data)[0]


def reference(name: str) -> bytes:
    """The reference int8 file."""
    return (FOLDER / MODELS[name].int8_file).read_bytes()


def answers(model: bytes, windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Real answers of a TFLite file on LiteRT."""
    backend = _open(model)
    shape = backend.variant.inputs[0].shape
    return np.stack([backend.run([np.ascontiguousarray(window.reshape(shape))])[0].reshape(-1) for window in windows])


def latency(name: str) -> None:
    """`int8_latency_<model>`: bare invoke of both files in LiteRT, one thread, in turn."""
    from ai_edge_litert.interpreter import Interpreter

    skip_without_models()
    models = (ours(name), reference(name))
    rounds = []
    for _ in range(OPENINGS):  # where the allocator puts the weights matters to small models: open anew
        opened: list[Any] = [Interpreter(model_content=model, num_threads=1) for model in models]
        for interpreter in opened:
            interpreter.allocate_tensors()
            interpreter.invoke()
        begun = time.perf_counter_ns()
        opened[1].invoke()
        calls = max(20, 1_000_000 // (time.perf_counter_ns() - begun))  # about 1 ms: one call is as short as a tick
        for _ in range(ROUNDS // OPENINGS):
            medians = [_per_call_us(interpreter, calls) for interpreter in opened]
            rounds.append((medians[0], medians[1]))
    _report(f"int8_latency_{name}", rounds, unit="µs per invoke", goal=1.05)


def _per_call_us(interpreter: Any, calls: int) -> float:
    """The least of ten blocks: whatever else the machine does only ever adds."""
    blocks = []
    for _ in range(10):
        begun = time.perf_counter_ns()
        for _ in range(calls):
            interpreter.invoke()
        blocks.append((time.perf_counter_ns() - begun) / 1e3 / calls)
    return min(blocks)


def size(name: str) -> None:
    """`int8_size_<model>`: bytes of both files."""
    skip_without_models()
    _report(f"int8_size_{name}", [(len(ours(name)), len(reference(name)))], unit="bytes", goal=1.02)


def error(name: str) -> None:
    """`int8_error_<model>`: mean absolute difference from the own float model, on the worse kind of data."""
    skip_without_models()
    from converters.load.keras import load_keras

    mine, theirs = ours(name), reference(name)
    float_file = (FOLDER / MODELS[name].float_file).read_bytes()
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        loaded = load_keras(FOLDER / MODELS[name].keras, Path(folder), {})
        for windows in (realistic(name, N_WINDOWS, 11), random(name, N_WINDOWS, 12)):
            source, other = loaded.answer(windows), answers(float_file, windows)
            here, there = answers(mine, windows), answers(theirs, windows)
            rounds.append((float(np.abs(here - source).mean()), float(np.abs(there - other).mean())))
            agree = [float((a.argmax(1) == b.argmax(1)).mean()) for a, b in ((here, source), (there, other))]
            print(f"{name}: top-1 agreement ours {agree[0]:.3f}, reference {agree[1]:.3f}", file=sys.stderr)
    worst = max(rounds, key=lambda pair: pair[0] / pair[1])
    _report(f"int8_error_{name}", [worst], unit="mean absolute difference", goal=1.0)


def _open(model: bytes) -> Any:
    from edge_sdk.contract.manifest import Variant
    from edge_sdk.inference.base import BackendRequest
    from edge_sdk.inference.litert import open_litert, tensors

    inputs, outputs = tensors(model)
    variant = Variant(file="model.tflite", format="tflite", precision="", inputs=inputs, outputs=outputs)
    return open_litert(model, variant, BackendRequest())


def _report(name: str, rounds: list[tuple[float, float]], *, unit: str, goal: float) -> None:
    line = {
        "name": name,
        "ours": round(statistics.median(mine for mine, _ in rounds), 5),
        "baseline": round(statistics.median(theirs for _, theirs in rounds), 5),
        "unit": unit,
        "ratio": round(statistics.median(mine / theirs for mine, theirs in rounds), 4),
        "goal": goal,
        "better": "lower",
        "rounds": len(rounds),
    }
    print(json.dumps(line, ensure_ascii=False))
