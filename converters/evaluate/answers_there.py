"""A program for another Python: runs a model on the runtime that is installed there; needs numpy and that runtime.

``python answers_there.py RUNTIME FOLDER OUTPUT`` reads ``model`` and ``inputs.npy`` of the folder and writes
``answers.npy``: what the output of that name says. It prints the runtime's version. It imports nothing of this package,
which need not be installed there.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

_PACKAGES = {
    "litert": ("ai_edge_litert.interpreter", "ai-edge-litert"),
    "tflite": ("tflite_runtime.interpreter", "tflite-runtime"),
}


def main(runtime: str, folder: Path, output: str) -> None:
    """Answer every input."""
    model, inputs = str(folder / "model"), np.load(folder / "inputs.npy")
    if runtime == "onnxruntime":
        onnxruntime: Any = import_module("onnxruntime")
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        given, found = session.get_inputs()[0].name, onnxruntime.__version__
        answers = [session.run([output], {given: window})[0] for window in inputs]
    else:
        module, package = _PACKAGES[runtime]
        interpreter: Any = import_module(module).Interpreter(model_path=model, num_threads=1)
        interpreter.allocate_tensors()
        found = version(package)
        answers = [_answer(interpreter, window, output) for window in inputs]
    np.save(folder / "answers.npy", np.stack([np.asarray(answer).reshape(-1) for answer in answers]))
    sys.stdout.write(f"{found}\n")


def _answer(interpreter: Any, window: Any, output: str) -> Any:
    [given] = interpreter.get_input_details()
    [told] = [detail for detail in interpreter.get_output_details() if detail["name"] == output]
    scale, zero_point = given["quantization"]
    if scale:
        limits = np.iinfo(given["dtype"])
        window = np.clip(np.rint(window / np.float32(scale)) + zero_point, limits.min, limits.max)
    interpreter.set_tensor(given["index"], window.astype(given["dtype"]))
    interpreter.invoke()
    scale, zero_point = told["quantization"]
    answer = interpreter.get_tensor(told["index"]).astype(np.float32)
    return (answer - np.float32(zero_point)) * np.float32(scale) if scale else answer


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
