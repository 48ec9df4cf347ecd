"""LiteRT (``ai-edge-litert``): the runtime for TFLite models on boards of today."""

from __future__ import annotations

import ai_edge_litert
from ai_edge_litert import interpreter as api

from edge_sdk.contract.manifest import Variant
from edge_sdk.contract.tensor import TensorSpec
from edge_sdk.inference import interpreter
from edge_sdk.inference.base import Backend, BackendRequest
from edge_sdk.inference.delegates import kind_of


def open_litert(model: bytes, variant: Variant, request: BackendRequest) -> Backend:
    """Open a TFLite model in LiteRT: in the interpreter, or where a GPU or NPU is wanted, as a CompiledModel.

    Raises:
        BackendUnavailableError: It refuses the model, or a delegate that was asked for is not here.
        TensorMismatchError: The file's tensors are not those of the manifest.
    """
    here = ai_edge_litert.__version__
    if request.delegates and kind_of(request.delegates[0], "litert").how == "compiled":
        from ai_edge_litert import compiled_model  # heavy: only where it is wanted

        from edge_sdk.inference.compiled import CompiledBackend

        return CompiledBackend(compiled_model, model, variant, request, version=here)
    return interpreter.InterpreterBackend(api, model, variant, request, runtime="litert", version=here)


def tensors(model: bytes) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Input and output specs of a TFLite file."""
    return interpreter.read_tensors(api, model)
