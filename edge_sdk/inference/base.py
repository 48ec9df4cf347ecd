"""What a backend promises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_sdk.contract.manifest import Variant


@dataclass(frozen=True, slots=True)
class BackendRequest:
    """How a model is to be run.

    Attributes:
        threads: Threads that the runtime may use for one call.
        delegates: Delegates (TFLite) or execution providers (ONNX Runtime) wanted, in order; empty = the CPU.
    """

    threads: int = 1
    delegates: tuple[str, ...] = ()


class Backend(Protocol):
    """A model opened in a runtime. Real numbers in, real numbers out; quantization is done inside.

    A plug-in of ``edge_sdk.backends`` is a function ``(model: bytes, variant: Variant, request: BackendRequest)
    -> Backend`` that raises BackendUnavailableError with a reason and a cure.

    Attributes:
        runtime: ``litert``, ``onnxruntime`` …
        version: Version of the runtime.
        delegates: Delegates or providers really in use, read back after opening.
        variant: What runs.
    """

    runtime: str
    version: str
    delegates: tuple[str, ...]
    variant: Variant

    def run(self, inputs: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Run once: float32 inputs in the variant's shapes, fresh float32 outputs.

        Raises:
            TensorMismatchError: An input has another shape.
            InferenceError: The runtime failed.
        """

    def close(self) -> None:
        """Let go of the runtime's memory."""
