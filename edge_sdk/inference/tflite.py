"""tflite-runtime 2.14: the runtime for TFLite models on boards that LiteRT has left behind (armv7, old Python)."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
from tflite_runtime import interpreter as api

from edge_sdk.base.errors import BackendUnavailableError, UnavailableReason
from edge_sdk.contract.manifest import Variant
from edge_sdk.inference import interpreter
from edge_sdk.inference.base import BackendRequest


def open_tflite(model: bytes, variant: Variant, request: BackendRequest) -> interpreter.InterpreterBackend:
    """Open a TFLite model in tflite-runtime.

    Raises:
        BackendUnavailableError: numpy is too new for it, it refuses the model, or a delegate is not here.
        TensorMismatchError: The file's tensors are not those of the manifest.
    """
    if int(np.__version__.partition(".")[0]) >= 2:
        raise BackendUnavailableError(
            "tflite-runtime 2.14",
            reason=UnavailableReason.TOO_OLD,
            cure=f"It cannot work with numpy {np.__version__}. Run: pip install 'edge-sdk[tflite]'.",
        )
    return interpreter.InterpreterBackend(
        api, model, variant, request, runtime="tflite", version=version("tflite-runtime")
    )
