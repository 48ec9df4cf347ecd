"""Sensor block → fused result with three tiny ONNX models merged into one, beside a hand-written script with all three.

The script does the same windows, one raw ONNX Runtime call for each model, and fuses with numpy. One sensor of four
channels at 40 Hz feeds all three, in blocks of half a second; the models are two dense layers (16-32-4) that look at a
tenth of a second, each with preprocessing of its own.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from converters.merge.fusion import Fusion
from converters.merge.merging import merge_variants
from converters.merge.onnx import build_onnx
from converters.merge.plan import make_plan
from edge_sdk.contract.bundle import Bundle, write_bundle
from edge_sdk.contract.envelope import encode_body
from edge_sdk.contract.manifest import Channel, Manifest, Step, Variant, Windowing
from edge_sdk.contract.reading import Reading
from edge_sdk.contract.tensor import TensorSpec
from edge_sdk.inference.model import Model
from edge_sdk.runtime.pipeline import Pipeline

ROUNDS, BLOCKS = 9, 400
LENGTH, CHANNELS, HIDDEN, CLASSES = 4, 4, 32, 4
BLOCK = 20
RATE_HZ, START_NS = 40.0, 1_700_000_000_000_000_000
LABELS = ("a", "b", "c", "d")


def tiny(name: str, seed: int, directory: Path) -> Bundle:
    """A small dense model with its own standardization."""
    rng = np.random.default_rng(seed)
    weights = {
        "w1": rng.normal(size=(LENGTH * CHANNELS, HIDDEN)) * 0.3,
        "b1": rng.normal(size=HIDDEN),
        "w2": rng.normal(size=(HIDDEN, CLASSES)) * 0.3,
        "b2": rng.normal(size=CLASSES),
    }
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["z"]),
        helper.make_node("Softmax", ["z"], ["p"]),
    ]
    shape = (1, LENGTH, CHANNELS)
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, (1, CLASSES))],
        [numpy_helper.from_array(value.astype(np.float32), key) for key, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    variant = Variant(
        file="float32.onnx",
        format="onnx",
        precision="float32",
        inputs=(TensorSpec(name="x", shape=shape, dtype="float32"),),
        outputs=(TensorSpec(name="p", shape=(1, CLASSES), dtype="float32"),),
    )
    mean, std = rng.normal(size=CHANNELS), rng.uniform(0.5, 2.0, size=CHANNELS)
    manifest = Manifest(
        name=name,
        task="classification",
        sensor="board",
        channels=tuple(Channel(name=f"c{index}", minimum=-50.0, maximum=50.0) for index in range(CHANNELS)),
        windowing=Windowing(length=LENGTH, stride=LENGTH, rate_hz=RATE_HZ),
        preprocess=(
            Step(kind="standardize", options={"mean": mean.tolist(), "std": std.tolist()}),
            Step(kind="clip", options={"minimum": -6.0, "maximum": 6.0}),
        ),
        labels=LABELS,
        variants=(variant,),
        files={},
    )
    return write_bundle(directory / f"{name}.edge", manifest, {"float32.onnx": model.SerializeToString()}, key=None)


def by_hand(bundles: list[Bundle], blocks: list[NDArray[np.float32]]) -> Callable[[], int]:
    """What somebody would write for just this."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    models: list[tuple[Any, NDArray[np.float32], NDArray[np.float32]]] = []
    for bundle in bundles:
        session = onnxruntime.InferenceSession(
            bundle.files["float32.onnx"], options, providers=["CPUExecutionProvider"]
        )
        steps = {step.kind: step.options for step in bundle.manifest.preprocess}
        mean, std = (np.array(steps["standardize"][key], np.float32) for key in ("mean", "std"))
        models.append((session, mean, std))

    def run() -> int:
        buffer, made = np.empty((0, CHANNELS), np.float32), 0
        for samples in blocks:
            buffer = np.concatenate([buffer, samples])
            while len(buffer) >= LENGTH:
                window, buffer = buffer[:LENGTH], buffer[LENGTH:]
                answers = []
                for session, mean, std in models:
                    x = np.clip((window - mean) / std, -6, 6)[None]
                    p = session.run(None, {"x": x})[0][0]
                    answers.append(p / p.sum())
                fused = np.exp(np.mean(np.log(np.maximum(answers, 1e-4)), axis=0))
                fused /= fused.sum()
                best = int(fused.argmax())
                result = {
                    "t": time.time(),
                    "label": LABELS[best],
                    "confidence": round(float(fused[best]), 4),
                    "probabilities": {name: round(float(p), 4) for name, p in zip(LABELS, fused, strict=True)},
                    "each": [LABELS[int(p.argmax())] for p in answers],
                }
                json.dumps(result)
                made += 1
        return made

    return run


def merged(bundles: list[Bundle], blocks: list[NDArray[np.float32]], directory: Path) -> Callable[[], int]:
    """The same with the merged bundle in the pipeline, from the reading to the bytes that the outbox stores."""
    plan = make_plan(bundles, Fusion(), name="merged")
    manifest, files, _ = merge_variants(plan, {"onnx": build_onnx})
    model = Model.open(write_bundle(directory / "merged.edge", manifest, files, key=None), runtime="onnxruntime")
    step_ns = round(1e9 / RATE_HZ)
    readings = [
        Reading("board", samples, START_NS + index * BLOCK * step_ns, rate_hz=RATE_HZ, observed_ns=START_NS + 1)
        for index, samples in enumerate(blocks)
    ]

    def run() -> int:
        pipeline = Pipeline([model])
        return sum(len(encode_body(result)) > 0 for reading in readings for result in pipeline.push(reading))

    return run


def seconds(work: Callable[[], int]) -> tuple[float, int]:
    begun = time.process_time()
    made = work()
    return time.process_time() - begun, made


def main() -> None:
    rng = np.random.default_rng(9)
    blocks = [rng.normal(size=(BLOCK, CHANNELS)).astype(np.float32) for _ in range(BLOCKS)]
    with tempfile.TemporaryDirectory() as directory:
        bundles = [tiny(f"m{index}", index, Path(directory)) for index in range(3)]
        mine, theirs = merged(bundles, blocks, Path(directory)), by_hand(bundles, blocks)
        mine(), theirs()
        pairs = [(seconds(mine), seconds(theirs)) for _ in range(ROUNDS)]
    made = pairs[0][0][1]
    assert abs(made - pairs[0][1][1]) <= 1, (made, pairs[0][1][1])
    per_result = [(a / n * 1e6, b / m * 1e6) for (a, n), (b, m) in pairs]
    print(
        json.dumps(
            {
                "name": "merged_three_tiny",
                "ours": round(statistics.median(a for a, _ in per_result), 2),
                "baseline": round(statistics.median(b for _, b in per_result), 2),
                "unit": "µs CPU per fused result",
                "ratio": round(statistics.median(a / b for a, b in per_result), 4),
                "goal": 0.7,
                "better": "lower",
                "rounds": ROUNDS,
            }
        )
    )


if __name__ == "__main__":
    main()
