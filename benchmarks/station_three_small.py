"""Sensor block → fused result with three small int8 models: CPU time beside a hand-written script."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from benchmarks._models import blocks, readings, three_small
from edge_sdk.contract.bundle import Bundle
from edge_sdk.contract.envelope import encode_body
from edge_sdk.inference.model import Model
from edge_sdk.runtime.pipeline import Pipeline

ROUNDS = 7
SECONDS = 400.0


def by_hand(bundles: dict[str, Bundle], given: list[tuple[str, NDArray[np.float32]]]) -> Callable[[], int]:
    """What somebody would write for just this: the same windows, the raw interpreter, numpy, json."""
    manifest = next(iter(bundles.values())).manifest
    length, stride = manifest.windowing.length, manifest.windowing.stride
    labels = manifest.labels
    models: dict[str, Any] = {}
    for name, bundle in bundles.items():
        interpreter = Interpreter(model_content=bundle.files["int8.tflite"], num_threads=1)
        interpreter.allocate_tensors()
        steps = {step.kind: step.options for step in bundle.manifest.preprocess}
        one, other = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        mean, std = (np.array(steps["standardize"][key], np.float32) for key in ("mean", "std"))
        models[name] = (
            interpreter,
            one["index"],
            one["quantization"],
            other["index"],
            other["quantization"],
            mean,
            std,
        )
    clip = steps["clip"]["maximum"]

    def run() -> int:
        buffers = {name: np.empty((0, 3), np.float32) for name in bundles}
        answers: dict[str, list[NDArray[np.float32]]] = {name: [] for name in bundles}
        made = 0
        for name, samples in given:
            buffer = np.concatenate([buffers[name], samples])
            interpreter, i, (i_scale, i_zero), o, (o_scale, o_zero), mean, std = models[name]
            while len(buffer) >= length:
                x = np.clip((buffer[:length] - mean) / std, -clip, clip)
                q = np.clip(np.round(x / i_scale) + i_zero, -128, 127).astype(np.int8)
                interpreter.set_tensor(i, q[None])
                interpreter.invoke()
                p = (interpreter.get_tensor(o)[0].astype(np.float32) - o_zero) * o_scale
                answers[name].append(p / p.sum())
                buffer = buffer[stride:]
            buffers[name] = buffer
            while all(answers.values()):
                each = [np.maximum(queue.pop(0), 1e-4) for queue in answers.values()]
                fused = np.exp(np.mean(np.log(each), axis=0))
                fused /= fused.sum()
                best = int(fused.argmax())
                result = {
                    "t": time.time(),
                    "label": labels[best],
                    "confidence": round(float(fused[best]), 4),
                    "probabilities": {name: round(float(p), 4) for name, p in zip(labels, fused, strict=True)},
                    "each": [labels[int(p.argmax())] for p in each],
                }
                json.dumps(result)
                made += 1
        return made

    return run


def ours(bundles: dict[str, Bundle], given: list[tuple[str, NDArray[np.float32]]]) -> Callable[[], int]:
    """The same with the pipeline, from the reading to the bytes that the outbox stores."""
    models = [Model.open(bundle, runtime="litert") for bundle in bundles.values()]
    waiting = readings(given)

    def run() -> int:
        pipeline = Pipeline(models)
        return sum(len(encode_body(result)) > 0 for reading in waiting for result in pipeline.push(reading))

    return run


def cpu_s(work: Callable[[], int]) -> tuple[float, int]:
    begun = time.process_time()
    made = work()
    return time.process_time() - begun, made


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        bundles = three_small(Path(directory))
        given = blocks(SECONDS)
        mine, theirs = ours(bundles, given), by_hand(bundles, given)
        mine(), theirs()
        pairs = [(cpu_s(mine), cpu_s(theirs)) for _ in range(ROUNDS)]
    made = pairs[0][0][1]
    assert abs(made - pairs[0][1][1]) <= 2, (made, pairs[0][1][1])
    per_result = [(a / made * 1e6, b / other * 1e6) for (a, _), (b, other) in pairs]
    print(
        json.dumps(
            {
                "name": "station_three_small",
                "ours": round(statistics.median(a for a, _ in per_result), 2),
                "baseline": round(statistics.median(b for _, b in per_result), 2),
                "unit": "µs CPU per fused result",
                "ratio": round(statistics.median(a / b for a, b in per_result), 4),
                "goal": 1.3,
                "better": "lower",
                "rounds": ROUNDS,
            }
        )
    )


if __name__ == "__main__":
    main()
