"""What a backend promises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edge_sdk.contract.manifest import Coverage, Variant
from edge_sdk.inference.delegates import Delegate


@dataclass(frozen=True, slots=True)
class BackendRequest:
    """How a model is to be run.

    Attributes:
        threads: Threads that the runtime may use for one call.
        delegates: Delegates (TFLite) or execution providers (ONNX Runtime) wanted, in order; empty = the CPU.
        cache: Directory where compiled engines are kept from one start to the next; empty = they are not kept.
    """

    threads: int = 1
    delegates: tuple[Delegate, ...] = ()
    cache: str = ""


class Backend(Protocol):
    """A model opened in a runtime. Real numbers in, real numbers out; quantization is done inside.

    A plug-in of ``edge_sdk.backends`` is a function ``(model: bytes, variant: Variant, request: BackendRequest)
    -> Backend`` that raises BackendUnavailableError with a reason and a cure.
    """

    @property
    def runtime(self) -> str:
        """Name of the runtime: ``litert``, ``onnxruntime`` …, by its plug-in's name."""

    @property
    def version(self) -> str:
        """Version of the runtime."""

    @property
    def variant(self) -> Variant:
        """What runs."""

    @property
    def coverage(self) -> tuple[Coverage, ...]:
        """What each delegate or provider really took of the model, read back after opening; what was wanted first."""

    def run(self, inputs: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Run once: float32 inputs in the variant's shapes, fresh float32 outputs.

        Raises:
            TensorMismatchError: An input has another shape.
            InferenceError: The runtime failed.
        """

    def close(self) -> None:
        """Let go of the runtime's memory."""


@runtime_checkable
class FallsBack(Protocol):
    """A backend on a delegate, with something else that answers where that fails.

    Attributes:
        fallback: Why the other answers at the moment; empty while the delegate does.
        counters: What was counted of losses and returns, by dotted name.
    """

    fallback: str
    counters: Counter[str]


@runtime_checkable
class TakesStored(Protocol):
    """A backend of this process that can also be handed what its tensors hold: the caller has quantized already."""

    def run_stored(self, stored: Sequence[NDArray[np.generic]]) -> list[NDArray[np.float32]]:
        """Run once: inputs in the variant's shapes and types, fresh float32 outputs.

        Raises:
            InferenceError: The runtime failed.
        """
