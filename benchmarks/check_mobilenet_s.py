"""`check_mobilenet_s`: `edge-sdk check` of a MobileNet-class model, imports done, beside the 2 s it may take."""

from __future__ import annotations

import json
import sys
import time

from benchmarks._mlperf import FOLDER, skip_without_models

ROUNDS = 7
ALLOWED_S = 2.0
BOARDS = ("coral-dev-board", "raspberry-pi-5", "android-gpu")


def main() -> None:
    skip_without_models()
    from converters.targets.fit import fit
    from edge_sdk.boards.profile import read_board

    model = (FOLDER / "vww_96_float.tflite").read_bytes()  # MobileNetV1 0.25 at 96 x 96
    fit(model, read_board(BOARDS[0]), precision="int8")  # imports are not counted
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        for board in BOARDS:
            fit(model, read_board(board), precision="int8")
        times.append((time.perf_counter() - begun) / len(BOARDS))
    ours = sorted(times)[ROUNDS // 2]
    print(f"slowest round {max(times):.3f} s", file=sys.stderr)
    line = {
        "name": "check_mobilenet_s", "ours": round(ours, 4), "baseline": ALLOWED_S, "unit": "s",
        "ratio": round(ours / ALLOWED_S, 4), "goal": 1.0, "better": "lower", "rounds": ROUNDS,
    }  # fmt: skip
    print(json.dumps(line))


if __name__ == "__main__":
    main()
