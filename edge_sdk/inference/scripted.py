"""A backend that follows a script instead of a model: the registered fake, for tests of what stands above it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sdk.base.errors import BundleFormatError, InferenceError, TensorMismatchError
from edge_sdk.contract.manifest import Coverage, Variant
from edge_sdk.inference.base import BackendRequest


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The "model file" of a scripted bundle, as JSON.

    Attributes:
        answers: Flat outputs, given in turn, call by call; null is NaN.
        fail_at: Numbers of the calls, from 0, that raise InferenceError.
    """

    answers: tuple[tuple[float | None, ...], ...]
    fail_at: tuple[int, ...] = ()


class ScriptedBackend:
    """Answers by the script, whatever the input."""

    runtime = "scripted"
    version = "1"
    coverage: tuple[Coverage, ...] = ()

    def __init__(self, model: bytes, variant: Variant, request: BackendRequest) -> None:
        self.variant = variant
        self.request = request
        try:
            self._script = msgspec.json.decode(model, type=Script)
        except msgspec.MsgspecError as error:
            raise BundleFormatError(f"{variant.file} is no script: {error}.") from error
        self._calls = 0

    def run(self, inputs: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Give the next answer."""
        for spec, given in zip(self.variant.inputs, inputs, strict=True):
            if given.shape != spec.shape:
                raise TensorMismatchError(spec.name, want=f"{spec.shape}", got=f"{given.shape}")
        call = self._calls
        self._calls += 1
        if call in self._script.fail_at:
            raise InferenceError(f"The script fails at call {call}.")
        answer = self._script.answers[call % len(self._script.answers)]
        return [np.asarray(answer, dtype=np.float32).reshape(self.variant.outputs[0].shape)]

    def close(self) -> None:
        """Nothing to let go of."""


def open_scripted(model: bytes, variant: Variant, request: BackendRequest) -> ScriptedBackend:
    """Open a script."""
    return ScriptedBackend(model, variant, request)
