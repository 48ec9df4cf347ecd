"""A TFLite model in LiteRT's CompiledModel: how LiteRT 2 reaches a GPU or an NPU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_sdk.base.errors import BackendUnavailableError, InferenceError, TensorMismatchError, UnavailableReason
from edge_sdk.contract.manifest import Coverage, Variant
from edge_sdk.contract.tensor import TensorSpec
from edge_sdk.inference.base import BackendRequest
from edge_sdk.inference.delegates import Delegate, Kind, kind_of
from edge_sdk.inference.quantizer import Quantizer


class CompiledBackend:
    """A model compiled for one accelerator, whole: what the accelerator does not take is refused, not left to the CPU.

    LiteRT can share a model between accelerator and CPU, but then it does not say who took what: it is not asked to.

    Attributes:
        runtime: ``litert``.
        version: Its version.
        variant: What runs.
        coverage: The accelerator, with all operations.
    """

    runtime = "litert"

    def __init__(
        self, api: ModuleType, model: bytes, variant: Variant, request: BackendRequest, *, version: str
    ) -> None:
        delegate = request.delegates[0]
        if len(request.delegates) > 1:
            raise BackendUnavailableError(
                f"Delegate {request.delegates[1].title!r} beside {delegate.title!r}",
                reason=UnavailableReason.REFUSED_MODEL,
                cure=f"{delegate.title!r} takes a model whole or not at all. Name it alone.",
            )
        kind = kind_of(delegate, self.runtime)
        self.version, self.variant = version, variant
        options = _options(api, delegate, kind)
        try:
            self._model: Any = api.CompiledModel.from_buffer(model, options=options)
            signature = self._model.get_signature_by_index(0)
            inputs = self._model.get_input_tensor_details(signature["key"])
            outputs = self._model.get_output_tensor_details(signature["key"])
            self._in = _places([inputs[name] for name in signature["inputs"]], variant.inputs)
            self._out = _places([outputs[name] for name in signature["outputs"]], variant.outputs)
            self._inputs, self._outputs = self._model.create_input_buffers(0), self._model.create_output_buffers(0)
            is_whole = self._model.is_fully_accelerated()
        except RuntimeError as error:
            raise _translate(error, delegate, kind, variant) from error
        if not is_whole:
            raise _refused(delegate, variant, "Part of it would run on the CPU.")
        self.coverage = (Coverage(delegate=delegate.title, share_of_operations=1.0, checked_by="run", partitions=1),)

    def run(self, inputs: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Run once: float32 inputs in the variant's shapes, fresh float32 outputs."""
        for index, spec, given in zip(self._in, self.variant.inputs, inputs, strict=True):
            if given.shape != spec.shape:
                raise TensorMismatchError(spec.name, want=f"{spec.shape}", got=f"{given.shape}")
            self._inputs[index].write(np.ascontiguousarray(Quantizer(spec).quantize(given)))
        try:
            self._model.run_by_index(0, self._inputs, self._outputs)
            return [
                Quantizer(spec).dequantize(
                    self._outputs[index].read(math.prod(spec.shape), spec.dtype).reshape(spec.shape)
                )
                for index, spec in zip(self._out, self.variant.outputs, strict=True)
            ]
        except RuntimeError as error:
            raise InferenceError(f"{self.runtime} failed on {self.variant.file}: {_said(error)}") from error

    def close(self) -> None:
        """Let go of the model and its buffers."""
        self._inputs, self._outputs = [], []
        self._model.close()


def _options(api: ModuleType, delegate: Delegate, kind: Kind) -> Any:
    chosen = {"enforce_f32": True, **delegate.options} if kind.target == "GPU" else {}
    if unknown := delegate.options.keys() - set(_fields(api.GpuOptions) if chosen else ()):
        raise BackendUnavailableError(
            f"Option {sorted(unknown)[0]!r} of delegate {delegate.title!r}",
            reason=UnavailableReason.NOT_COMPILED_IN,
            cure=f"This version knows {', '.join(_fields(api.GpuOptions)) if chosen else 'no options'}.",
        )
    accelerator = getattr(api.HardwareAccelerator, kind.target)
    return api.Options(hardware_accelerators=accelerator, gpu_options=api.GpuOptions(**chosen) if chosen else None)


def _fields(kind: Any) -> tuple[str, ...]:
    return tuple(sorted(kind.__dataclass_fields__))


def _places(details: Sequence[dict[str, Any]], specs: Sequence[TensorSpec]) -> list[int]:
    """Where each of the manifest's tensors stands in the signature; refuse where they differ."""
    names = [detail["name"] for detail in details]
    places = []
    for spec in specs:
        if spec.name not in names:
            raise TensorMismatchError(spec.name, want="in the model file", got=f"not among {sorted(names)}")
        place = names.index(spec.name)
        shape, dtype = tuple(details[place]["shape"]), details[place]["dtype"]
        if (shape, dtype) != (spec.shape, spec.dtype):
            raise TensorMismatchError(spec.name, want=f"{spec.dtype}{spec.shape}", got=f"{dtype}{shape}")
        places.append(place)
    return places


def _translate(error: RuntimeError, delegate: Delegate, kind: Kind, variant: Variant) -> BackendUnavailableError:
    text = _said(error)
    if "not accelerated" in text and kind.target == "GPU":  # of an NPU that is not there LiteRT says the same
        return _refused(delegate, variant, "It does not take some of the operators; the log names them.")
    if "load model" in text:
        return _refused(delegate, variant, f"LiteRT says: {text}")
    return BackendUnavailableError(
        f"Delegate {delegate.title!r} for {variant.file}", reason=UnavailableReason.NO_DEVICE, cure=kind.cure
    )


def _refused(delegate: Delegate, variant: Variant, why: str) -> BackendUnavailableError:
    return BackendUnavailableError(
        f"Delegate {delegate.title!r} for {variant.file}",
        reason=UnavailableReason.REFUSED_MODEL,
        cure=f"{why} Change the model, leave the delegate out, or write `fallback: cpu`.",
    )


def _said(error: RuntimeError) -> str:
    """The readable part of a LiteRT error, which comes with places in its sources."""
    lines = [line.strip("└ ") for line in str(error).splitlines()]
    return "; ".join(line for line in lines if line and not line.startswith("ERROR: [")) or "nothing more."
