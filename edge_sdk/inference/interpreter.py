"""A TFLite model in an interpreter: what LiteRT and the older tflite-runtime have in common."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_sdk.base.errors import (
    BackendUnavailableError,
    BundleFormatError,
    InferenceError,
    TensorMismatchError,
    UnavailableReason,
)
from edge_sdk.contract.manifest import Variant
from edge_sdk.contract.tensor import TensorSpec
from edge_sdk.inference.base import BackendRequest

_DELEGATE = "DELEGATE"
_EDGE_TPU_OP = "edgetpu-custom-op"


class InterpreterBackend:
    """A model opened in a TFLite interpreter.

    Attributes:
        runtime: Name of the runtime.
        version: Its version.
        delegates: Delegates that really took nodes.
        variant: What runs.
    """

    def __init__(
        self,
        api: ModuleType,
        model: bytes,
        variant: Variant,
        request: BackendRequest,
        *,
        runtime: str,
        version: str,
    ) -> None:
        self.runtime, self.version, self.variant = runtime, version, variant
        wanted = request.delegates or ("xnnpack",)
        if unknown := set(wanted) - {"xnnpack", "none"}:
            raise BackendUnavailableError(
                f"Delegate {sorted(unknown)[0]!r} on {runtime}",
                reason=UnavailableReason.NOT_COMPILED_IN,
                cure="This version knows 'xnnpack' and 'none'. Name one of them, or write `fallback: cpu`.",
            )
        resolver = api.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if "none" in wanted else api.OpResolverType.AUTO
        try:
            self._interpreter: Any = api.Interpreter(
                model_content=model, num_threads=request.threads, experimental_op_resolver_type=resolver
            )
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError, SystemError) as error:
            raise _translate(error, variant, runtime) from error
        self._inputs = self._match(self._interpreter.get_input_details(), variant.inputs)
        self._outputs = self._match(self._interpreter.get_output_details(), variant.outputs)
        took = any(op["op_name"] == _DELEGATE for op in self._interpreter._get_ops_details())
        self.delegates = ("xnnpack",) if took else ()
        if "xnnpack" in request.delegates and not took:
            raise BackendUnavailableError(
                f"Delegate 'xnnpack' for {variant.file}",
                reason=UnavailableReason.REFUSED_MODEL,
                cure="It takes none of the operators. Ask for 'none', or write `fallback: cpu`.",
            )

    def run(self, inputs: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Run once: float32 inputs in the variant's shapes, fresh float32 outputs."""
        interpreter = self._interpreter
        for (index, spec), given in zip(self._inputs, inputs, strict=True):
            if given.shape != spec.shape:
                raise TensorMismatchError(spec.name, want=f"{spec.shape}", got=f"{given.shape}")
            interpreter.set_tensor(index, spec.quantize(given))
        try:
            interpreter.invoke()
        except RuntimeError as error:
            raise InferenceError(f"{self.runtime} failed on {self.variant.file}: {error}.") from error
        return [spec.dequantize(interpreter.get_tensor(index)) for index, spec in self._outputs]

    def close(self) -> None:
        """Let go of the interpreter."""
        self._interpreter = None

    def _match(self, details: Sequence[dict[str, Any]], specs: Sequence[TensorSpec]) -> list[tuple[int, TensorSpec]]:
        """Pair the file's tensors with the manifest's, by name, and refuse where they differ."""
        by_name = {detail["name"]: detail for detail in details}
        pairs = []
        for spec in specs:
            detail = by_name.get(spec.name)
            if detail is None:
                raise TensorMismatchError(spec.name, want="in the model file", got=f"not among {sorted(by_name)}")
            shape, dtype = tuple(int(n) for n in detail["shape"]), np.dtype(detail["dtype"]).name
            if (shape, dtype) != (spec.shape, spec.dtype):
                raise TensorMismatchError(spec.name, want=f"{spec.dtype}{spec.shape}", got=f"{dtype}{shape}")
            pairs.append((int(detail["index"]), spec))
        return pairs


def read_tensors(api: ModuleType, model: bytes) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Input and output specs of a TFLite file, as the interpreter sees them.

    Raises:
        BundleFormatError: It is no TFLite model.
    """
    try:
        interpreter = api.Interpreter(model_content=model, num_threads=1)
    except (ValueError, RuntimeError) as error:
        raise BundleFormatError(f"No TFLite model: {error}. Give a .tflite file.") from error
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    return tuple(_spec(detail) for detail in inputs), tuple(_spec(detail) for detail in outputs)


def _spec(detail: dict[str, Any]) -> TensorSpec:
    scale, zero_point = detail["quantization"]
    return TensorSpec(
        name=detail["name"],
        shape=tuple(int(n) for n in detail["shape"]),
        dtype=np.dtype(detail["dtype"]).name,
        scale=float(scale),
        zero_point=int(zero_point),
    )


def _translate(error: Exception, variant: Variant, runtime: str) -> Exception:
    text = str(error)
    if _EDGE_TPU_OP in text:
        return BackendUnavailableError(
            f"The Edge TPU that {variant.file} is compiled for",
            reason=UnavailableReason.NO_DEVICE,
            cure="Plug in the Coral and install libedgetpu1-std, or deploy the bundle's CPU variant.",
        )
    if isinstance(error, ValueError) and "Flatbuffer" in text:
        return BundleFormatError(f"{variant.file} is no TFLite model: {text}. Convert again.")
    return BackendUnavailableError(
        f"{runtime} for {variant.file}",
        reason=UnavailableReason.REFUSED_MODEL,
        cure=f"The runtime says: {text.splitlines()[0] if text else type(error).__name__}. "
        "Install the version that `edge-sdk inspect` names, or convert for this one.",
    )
