"""`convert_resnet8_s`: ResNet-8 to int8 with parity and report, beside twice a bare TFLiteConverter and 10 s."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks._mlperf import FOLDER, MODELS, realistic, skip_without_models

ROUNDS = 3
N_WINDOWS = 200
GRACE_S = 10.0

# The least that makes an int8 file of the same model with the same data: what anybody's script does.
BARE = """
import sys, numpy as np, keras, tensorflow as tf
x = np.load(sys.argv[2])
model = keras.models.load_model(sys.argv[1], compile=False)
model.export(sys.argv[3], format="tf_saved_model", verbose=False,
             input_signature=[tf.TensorSpec((1, *x.shape[1:]), tf.float32)])
converter = tf.lite.TFLiteConverter.from_saved_model(sys.argv[3])
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = lambda: ([window[None]] for window in x)
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
converter.inference_input_type = converter.inference_output_type = tf.int8
open(sys.argv[3] + ".tflite", "wb").write(converter.convert())
"""


def main() -> None:
    skip_without_models()
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    model = FOLDER / MODELS["resnet8"].keras
    rounds = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "x.npy", realistic("resnet8", N_WINDOWS, 1))
        for turn in range(ROUNDS):
            target = str(folder / f"bare{turn}")
            bare = _timed([sys.executable, "-c", BARE, str(model), str(folder / "x.npy"), target], environment)
            ours = _timed(
                [sys.executable, "-m", "edge_sdk.cli", "convert", str(model), "--format", "tflite", "--no-cache",
                 "--calibration", str(folder / "x.npy"), "--html", str(folder / "report.html"),
                 "-o", str(folder / "out.edge")],
                environment,
            )  # fmt: skip
            print(f"ours {ours:.1f} s, bare {bare:.1f} s", file=sys.stderr)
            rounds.append((ours, 2 * bare + GRACE_S))
    ours, allowed = sorted(rounds, key=lambda pair: pair[0] / pair[1])[ROUNDS // 2]
    line = {
        "name": "convert_resnet8_s", "ours": round(ours, 2), "baseline": round(allowed, 2),
        "unit": "s, against twice the bare converter and 10 s", "ratio": round(ours / allowed, 4), "goal": 1.0,
        "better": "lower", "rounds": ROUNDS,
    }  # fmt: skip
    print(json.dumps(line))


def _timed(command: list[str], environment: dict[str, str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
