"""Answers: what bundles say to the same windows, on each runtime. Run on both machines; compared on one.

As a program it writes an ``.npz`` with the answers and a ``.json`` with what gave them::

    python answers.py WINDOWS.npz KEY.pub OUT BUNDLE...
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from edge_sdk.contract.prediction import ContributorState
from edge_sdk.contract.trust import Trust
from edge_sdk.contract.window import Window
from edge_sdk.inference.model import Model

RUNTIMES = {"litert": "ai-edge-litert", "onnxruntime": "onnxruntime"}


def main(windows: Path, key: Path, out: Path, bundles: Sequence[Path]) -> None:
    """Open each bundle on each runtime, which runs its recorded inputs; then predict every window.

    Raises:
        EdgeError: A bundle is refused, or answers its own inputs wrongly.
    """
    answers: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    with np.load(windows) as given:
        for path in bundles:
            for runtime in RUNTIMES:
                begun = time.monotonic()
                model = Model.open(path, trust=Trust.of([key]), runtime=runtime)
                opened_s = time.monotonic() - begun
                answers[f"{model.name}.{runtime}"], call_ms = _predict(model, given[model.bundle.manifest.sensor])
                variant = model.backend.variant
                rows.append(
                    {
                        "bundle": model.name,
                        "variant": variant.file,
                        "runtime": runtime,
                        "delegates": list(model.in_use().delegates),
                        "recorded_off_by": model.check(),
                        "tolerance": variant.tolerance,
                        "opened_s": opened_s,
                        "call_ms": call_ms,
                    }
                )
                model.close()
    np.savez(out.with_suffix(".npz"), allow_pickle=False, **answers)
    libraries = ("edge-sdk", "numpy", *RUNTIMES.values())
    about = {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "libc": " ".join(platform.libc_ver()),
        "versions": {name: version(name) for name in libraries},
        "models": rows,
    }
    out.with_suffix(".json").write_text(json.dumps(about, indent=1), encoding="ascii")


def _predict(model: Model, samples: np.ndarray[Any, np.dtype[np.float32]]) -> tuple[Any, float]:
    """Probabilities ``(n_windows, n_classes)``, and the median time of a call, milliseconds."""
    answers, took = [], []
    for one in samples:
        begun = time.perf_counter()
        prediction = model.predict(Window(model.bundle.manifest.sensor, 0, 1, one))
        took.append(time.perf_counter() - begun)
        if prediction.state is not ContributorState.FRESH:
            raise RuntimeError(f"{model.name} gives no answer: {prediction.reason}")
        answers.append(np.asarray(prediction.probabilities))
    return np.stack(answers), 1000.0 * statistics.median(took)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), [Path(word) for word in sys.argv[4:]])
