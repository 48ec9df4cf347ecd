"""Elsewhere: a variant answers on a runtime that another Python environment has, such as an older one of the board."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.program import ask, last_words
from edge_sdk.base.errors import ConfigError, ConversionError, nearest

RUNTIMES = ("litert", "onnxruntime", "tflite")
_PROGRAM = Path(__file__).with_name("answers_there.py")
_TIMEOUT_S = 1800


def environments(given: Sequence[str]) -> dict[str, str]:
    """Read ``tflite=/opt/old/bin/python``: which Python has which runtime.

    Raises:
        ConfigError: It is not that form, no such runtime, or no such file.
    """
    found = {}
    for text in given:
        runtime, _, python = text.partition("=")
        if not python:
            raise ConfigError(f"--python {text!r} is not understood; wanted is RUNTIME=/path/to/bin/python.")
        if runtime not in RUNTIMES:
            raise ConfigError(f"--python: {runtime!r} is no runtime. {nearest(runtime, RUNTIMES)}")
        if not Path(python).is_file():
            raise ConfigError(f"--python {runtime}: there is no {python}. Wanted is the python of an environment.")
        found[runtime] = str(Path(python).absolute())
    return found


def answers_there(
    python: str, runtime: str, model: bytes, output: str, inputs: Sequence[NDArray[np.float32]]
) -> tuple[NDArray[np.float32], str]:
    """Run a model on every input by another Python.

    Args:
        python: Its interpreter; numpy and the runtime are installed there, this package need not be.
        runtime: One of `RUNTIMES`.
        model: The file's content.
        output: Name of the output that answers.
        inputs: In the model's shape.

    Returns:
        The answers ``(n, n_answers)``, and the runtime's version.

    Raises:
        ConversionError: It crashes or fails there; its last words are in the message.
    """
    with tempfile.TemporaryDirectory(prefix="edge-sdk-elsewhere-") as name:
        folder = Path(name)
        (folder / "model").write_bytes(model)
        np.save(folder / "inputs.npy", np.stack(inputs))
        done = ask([python, str(_PROGRAM), runtime, name, output], timeout_s=_TIMEOUT_S)
        if done.returncode:
            raise ConversionError(
                f"The model fails on {runtime} of {python} (exit {done.returncode}): {last_words(done)}"
            )
        answers: NDArray[np.float32] = np.load(folder / "answers.npy", allow_pickle=False)
        return np.asarray(answers, np.float32), done.stdout.strip().splitlines()[-1]
