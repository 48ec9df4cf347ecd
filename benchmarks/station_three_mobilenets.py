"""Sensor block → fused result with three MobileNet-class int8 models: CPU time beside a hand-written script."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from benchmarks._mobilenet import images, mobilenets, reading
from edge_sdk.contract.bundle import Bundle
from edge_sdk.contract.envelope import encode_body
from edge_sdk.inference.model import Model
from edge_sdk.runtime.pipeline import Pipeline

ROUNDS = 11
IMAGES = 40


def by_hand(bundles: dict[str, Bundle]) -> Callable[[], int]:
    """What somebody would write for just this: the raw interpreter, numpy, json."""
    given = images(IMAGES)
    interpreters = []
    for bundle in bundles.values():
        interpreter = Interpreter(model_content=bundle.files["int8.tflite"], num_threads=1)
        interpreter.allocate_tensors()
        interpreters.append((interpreter, interpreter.get_input_details()[0], interpreter.get_output_details()[0]))
    labels = next(iter(bundles.values())).manifest.labels

    def run() -> int:
        made = 0
        for image in given:
            answers = []
            for interpreter, one, other in interpreters:
                scale, zero = one["quantization"]
                q = np.clip(np.round(image / scale) + zero, -128, 127).astype(np.int8)
                interpreter.set_tensor(one["index"], q[None])
                interpreter.invoke()
                scale, zero = other["quantization"]
                p = (interpreter.get_tensor(other["index"])[0].astype(np.float32) - zero) * scale
                answers.append(np.maximum(p / p.sum(), 1e-4))
            fused = np.exp(np.mean(np.log(answers), axis=0))
            fused /= fused.sum()
            json.dumps({"label": labels[int(fused.argmax())], "p": [round(float(p), 4) for p in fused]})
            made += 1
        return made

    return run


def ours(bundles: dict[str, Bundle]) -> Callable[[], int]:
    """The same with the pipeline, from the reading to the bytes that the outbox stores."""
    models = [Model.open(bundle, runtime="litert") for bundle in bundles.values()]
    waiting = [reading(name, image, number) for number, image in enumerate(images(IMAGES)) for name in bundles]

    def run() -> int:
        pipeline = Pipeline(models)
        return sum(len(encode_body(result)) > 0 for one in waiting for result in pipeline.push(one))

    return run


def cpu_s(work: Callable[[], int]) -> tuple[float, int]:
    begun = time.process_time()
    made = work()
    return time.process_time() - begun, made


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        bundles = mobilenets(Path(directory), "left", "middle", "right")
        mine, theirs = ours(bundles), by_hand(bundles)
        mine(), theirs()
        pairs = [(cpu_s(mine), cpu_s(theirs)) for _ in range(ROUNDS)]
    per_result = [(a / made * 1e3, b / other * 1e3) for (a, made), (b, other) in pairs]
    assert pairs[0][0][1] == pairs[0][1][1] == IMAGES, pairs[0]
    print(
        json.dumps(
            {
                "name": "station_three_mobilenets",
                "ours": round(statistics.median(a for a, _ in per_result), 3),
                "baseline": round(statistics.median(b for _, b in per_result), 3),
                "unit": "ms CPU per fused result",
                "ratio": round(statistics.median(a / b for a, b in per_result), 4),
                "goal": 1.03,
                "better": "lower",
                "rounds": ROUNDS,
            }
        )
    )


if __name__ == "__main__":
    main()
