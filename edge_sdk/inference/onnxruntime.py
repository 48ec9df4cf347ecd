"""ONNX Runtime: the runtime for ONNX models, on the CPU and on Jetson's providers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as api
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as failures

from edge_sdk.base.errors import (
    BackendUnavailableError,
    BundleFormatError,
    InferenceError,
    TensorMismatchError,
    UnavailableReason,
)
from edge_sdk.contract.manifest import Coverage, Variant
from edge_sdk.contract.tensor import TensorSpec
from edge_sdk.inference.base import BackendRequest
from edge_sdk.inference.delegates import kind_of

_CPU = "CPUExecutionProvider"
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}
_REFUSED = (failures.Fail, failures.InvalidGraph, failures.InvalidProtobuf, failures.NotImplemented)


class OnnxRuntimeBackend:
    """A model opened in an ONNX Runtime session.

    Attributes:
        runtime: ``onnxruntime``.
        version: Its version.
        delegates: Execution providers really in use, asked of the session after it was made.
        variant: What runs.
    """

    runtime = "onnxruntime"
    version: str = api.__version__

    def __init__(self, model: bytes, variant: Variant, request: BackendRequest) -> None:
        self.variant = variant
        providers = [kind_of(delegate, "onnxruntime").target for delegate in request.delegates] or [_CPU]
        here = api.get_available_providers()
        if missing := [name for name in providers if name not in here]:
            raise BackendUnavailableError(
                f"Execution provider {missing[0]!r}",
                reason=UnavailableReason.NOT_COMPILED_IN,
                cure=f"This build has {', '.join(here)}. Install the build for your board, or write `fallback: cpu`.",
            )
        self._session: Any = _session(model, variant, providers, request.threads)
        in_use = self._session.get_providers()
        self.coverage = tuple(Coverage(delegate=name, share_of_operations=1.0, checked_by="run") for name in in_use)
        if refused := [name for name in providers if name not in in_use]:
            raise BackendUnavailableError(
                f"Execution provider {refused[0]!r} for {variant.file}",
                reason=UnavailableReason.NO_DEVICE,
                cure=f"The session has {', '.join(in_use)}. Check its driver, or write `fallback: cpu`.",
            )
        inputs, outputs = _specs(self._session.get_inputs()), _specs(self._session.get_outputs())
        _match(inputs, variant.inputs)
        _match(outputs, variant.outputs)
        self._output_names = [spec.name for spec in variant.outputs]

    def run(self, inputs: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Run once: float32 inputs in the variant's shapes, fresh float32 outputs."""
        feed = {}
        for spec, given in zip(self.variant.inputs, inputs, strict=True):
            if given.shape != spec.shape:
                raise TensorMismatchError(spec.name, want=f"{spec.shape}", got=f"{given.shape}")
            feed[spec.name] = spec.quantize(given)
        try:
            answers = self._session.run(self._output_names, feed)
        except (RuntimeError, *_REFUSED) as error:
            raise InferenceError(f"onnxruntime failed on {self.variant.file}: {error}.") from error
        return [spec.dequantize(answer) for spec, answer in zip(self.variant.outputs, answers, strict=True)]

    def close(self) -> None:
        """Let go of the session."""
        self._session = None


def open_onnxruntime(model: bytes, variant: Variant, request: BackendRequest) -> OnnxRuntimeBackend:
    """Open an ONNX model in ONNX Runtime.

    Raises:
        BackendUnavailableError: It refuses the model, or a provider that was asked for is not here.
        TensorMismatchError: The file's tensors are not those of the manifest.
    """
    return OnnxRuntimeBackend(model, variant, request)


def tensors(model: bytes) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Input and output specs of an ONNX file."""
    variant = Variant(file="model.onnx", format="onnx", precision="", inputs=(), outputs=())
    session = _session(model, variant, [_CPU], 1)
    return _specs(session.get_inputs()), _specs(session.get_outputs())


def _session(model: bytes, variant: Variant, providers: Sequence[str], threads: int) -> Any:
    options = api.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other models need the cores
    try:
        return api.InferenceSession(model, options, providers=list(providers))
    except failures.InvalidProtobuf as error:
        raise BundleFormatError(f"{variant.file} is no ONNX model: {error}. Convert again.") from error
    except (RuntimeError, ValueError, *_REFUSED) as error:
        raise BackendUnavailableError(
            f"onnxruntime {api.__version__} for {variant.file}",
            reason=UnavailableReason.REFUSED_MODEL,
            cure=f"The runtime says: {str(error).splitlines()[0]}",
        ) from error


def _specs(nodes: Sequence[Any]) -> tuple[TensorSpec, ...]:
    specs = []
    for node in nodes:
        if not all(isinstance(n, int) for n in node.shape):
            raise TensorMismatchError(node.name, want="every dimension fixed", got=f"{node.shape}")
        specs.append(TensorSpec(name=node.name, shape=tuple(node.shape), dtype=_DTYPES.get(node.type, node.type)))
    return tuple(specs)


def _match(found: Sequence[TensorSpec], wanted: Sequence[TensorSpec]) -> None:
    by_name = {spec.name: spec for spec in found}
    for spec in wanted:
        there = by_name.get(spec.name)
        if there is None:
            raise TensorMismatchError(spec.name, want="in the model file", got=f"not among {sorted(by_name)}")
        if (there.shape, there.dtype) != (spec.shape, spec.dtype):
            want, got = f"{spec.dtype}{spec.shape}", f"{there.dtype}{there.shape}"
            raise TensorMismatchError(spec.name, want=want, got=got)


def available_providers() -> list[str]:
    """Execution providers that this build of ONNX Runtime has; whether their hardware is here shows when opening."""
    return list(api.get_available_providers())
