"""Calls: the two ways to run a session of ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_sdk.contract.manifest import Variant


class Fed:
    """Calls with arrays handed over each time."""

    def __init__(self, session: Any, variant: Variant) -> None:
        self._session, self._specs = session, variant.inputs
        self._outputs = [spec.name for spec in variant.outputs]

    def run(self, inputs: Sequence[NDArray[np.float32]]) -> Sequence[NDArray[np.generic]]:
        """Run once; the answers in the model's own types."""
        feed = {spec.name: spec.quantize(given) for spec, given in zip(self._specs, inputs, strict=True)}
        answers: list[NDArray[np.generic]] = self._session.run(self._outputs, feed)
        return answers


class Bound:
    """Calls on memory that is bound once, on the CPU: a fifth quicker for a tiny model."""

    def __init__(self, session: Any, variant: Variant) -> None:
        self._session, self._binding, self._specs = session, session.io_binding(), variant.inputs
        self._given = [np.zeros(spec.shape, spec.dtype) for spec in variant.inputs]
        self._are_plain = [spec.dtype == "float32" for spec in variant.inputs]
        self._answers = [np.zeros(spec.shape, spec.dtype) for spec in variant.outputs]
        for bind, specs, places in (
            (self._binding.bind_input, variant.inputs, self._given),
            (self._binding.bind_output, variant.outputs, self._answers),
        ):
            for spec, place in zip(specs, places, strict=True):
                bind(spec.name, "cpu", 0, place.dtype.type, spec.shape, place.ctypes.data)

    def run(self, inputs: Sequence[NDArray[np.float32]]) -> Sequence[NDArray[np.generic]]:
        """Run once; the answers in the model's own types, good until the next call."""
        for spec, place, given, is_plain in zip(self._specs, self._given, inputs, self._are_plain, strict=True):
            np.copyto(place, given if is_plain else spec.quantize(given))
        self._session.run_with_iobinding(self._binding)
        return self._answers
