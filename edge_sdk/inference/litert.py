"""LiteRT (``ai-edge-litert``): the runtime for TFLite models on boards of today."""

from __future__ import annotations

from importlib.metadata import version

from ai_edge_litert import interpreter as api

from edge_sdk.contract.manifest import Variant
from edge_sdk.contract.tensor import TensorSpec
from edge_sdk.inference import interpreter
from edge_sdk.inference.base import BackendRequest


def open_litert(model: bytes, variant: Variant, request: BackendRequest) -> interpreter.InterpreterBackend:
    """Open a TFLite model in LiteRT.

    Raises:
        BackendUnavailableError: It refuses the model, or a delegate that was asked for is not here.
        TensorMismatchError: The file's tensors are not those of the manifest.
    """
    return interpreter.InterpreterBackend(
        api, model, variant, request, runtime="litert", version=version("ai-edge-litert")
    )


def tensors(model: bytes) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Input and output specs of a TFLite file."""
    return interpreter.read_tensors(api, model)
