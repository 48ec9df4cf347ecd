"""A TFLite model in an interpreter: what LiteRT and the older tflite-runtime have in common."""

from __future__ import annotations

import ctypes
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
from edge_sdk.contract.manifest import Coverage, Variant
from edge_sdk.contract.tensor import TensorSpec
from edge_sdk.inference import placement
from edge_sdk.inference.base import BackendRequest
from edge_sdk.inference.delegates import Delegate, Kind, kind_of
from edge_sdk.inference.quantizer import Quantizer

_EDGE_TPU_OP = "edgetpu-custom-op"


class InterpreterBackend:
    """A model opened in a TFLite interpreter, with at most one external delegate.

    Attributes:
        runtime: Name of the runtime.
        version: Its version.
        variant: What runs.
        coverage: What the external delegate and XNNPACK really took.
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
        names = {delegate.title for delegate in request.delegates}
        external = _external(request.delegates, runtime)
        loaded = [_load(api, delegate, kind_of(delegate, runtime)) for delegate in external]
        resolver = api.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if "none" in names else api.OpResolverType.AUTO
        try:
            self._interpreter: Any = api.Interpreter(
                model_content=model,
                num_threads=request.threads,
                experimental_op_resolver_type=resolver,
                experimental_delegates=loaded,
            )
            external_parts = placement.partitions(self._interpreter._get_ops_details())
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError, SystemError) as error:
            raise _translate(error, variant, external[0].title if external else "", runtime) from error
        self._inputs = self._match(self._interpreter.get_input_details(), variant.inputs)
        self._outputs = self._match(self._interpreter.get_output_details(), variant.outputs)
        operators = self._interpreter._get_ops_details()
        found = [placement.coverage(delegate.title, operators, first=0, last=external_parts) for delegate in external]
        every = placement.partitions(operators)
        if every > external_parts:
            found.append(placement.coverage("xnnpack", operators, first=external_parts, last=every))
        self.coverage: tuple[Coverage, ...] = tuple(found)
        must = external[0].title if external else "xnnpack" if "xnnpack" in names else ""
        if must and not (found and found[0].share_of_operations):
            raise BackendUnavailableError(
                f"Delegate {must!r} for {variant.file}",
                reason=UnavailableReason.REFUSED_MODEL,
                cure="It takes none of the operators. Ask for 'none', or write `fallback: cpu`.",
            )

    def run(self, inputs: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Run once: float32 inputs in the variant's shapes, fresh float32 outputs."""
        for spec, given in zip(self.variant.inputs, inputs, strict=True):
            if given.shape != spec.shape:
                raise TensorMismatchError(spec.name, want=f"{spec.shape}", got=f"{given.shape}")
        return self.run_stored(
            [tensor.quantize(given) for (_, tensor), given in zip(self._inputs, inputs, strict=True)]
        )

    def run_stored(self, stored: Sequence[NDArray[np.generic]]) -> list[NDArray[np.float32]]:
        """Run once: inputs in the variant's shapes and types, fresh float32 outputs."""
        interpreter = self._interpreter
        for (index, _), given in zip(self._inputs, stored, strict=True):
            interpreter.set_tensor(index, given)
        try:
            interpreter.invoke()
        except RuntimeError as error:
            raise InferenceError(f"{self.runtime} failed on {self.variant.file}: {error}.") from error
        return [tensor.dequantize(interpreter.get_tensor(index)) for index, tensor in self._outputs]

    def close(self) -> None:
        """Let go of the interpreter."""
        self._interpreter = None

    def _match(self, details: Sequence[dict[str, Any]], specs: Sequence[TensorSpec]) -> list[tuple[int, Quantizer]]:
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
            pairs.append((int(detail["index"]), Quantizer(spec)))
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


def _external(delegates: Sequence[Delegate], runtime: str) -> list[Delegate]:
    """The external one among them, if there is one; what this runtime cannot have is refused."""
    external = []
    for delegate in delegates:
        kind = kind_of(delegate, runtime)
        if kind.how == "external":
            external.append(delegate)
        elif kind.how != "cpu":
            raise BackendUnavailableError(
                f"Delegate {delegate.title!r} on {runtime}", reason=UnavailableReason.NOT_COMPILED_IN, cure=kind.cure
            )
    if len(external) > 1:
        raise BackendUnavailableError(
            f"Delegate {external[1].title!r} beside {external[0].title!r}",
            reason=UnavailableReason.REFUSED_MODEL,
            cure="One model takes one external delegate. Leave the other to another model.",
        )
    return external


def _load(api: ModuleType, delegate: Delegate, kind: Kind) -> Any:
    """Load an external delegate's library and have it make its delegate."""
    what = f"Delegate {delegate.title!r}"
    try:
        library = ctypes.CDLL(kind.target)  # by ourselves first: the runtime's wrapper stumbles in its destructor
        _ = library.tflite_plugin_create_delegate, library.tflite_plugin_destroy_delegate
        return api.load_delegate(kind.target, dict(delegate.options))
    except OSError as error:
        cure = f"{error}. {kind.cure}".rstrip()
        raise BackendUnavailableError(what, reason=UnavailableReason.LIBRARY_NOT_FOUND, cure=cure) from error
    except AttributeError as error:
        raise BackendUnavailableError(
            what,
            reason=UnavailableReason.LIBRARY_NOT_FOUND,
            cure=f"{kind.target} is no TFLite delegate: it has no tflite_plugin_create_delegate. Name another library.",
        ) from error
    except ValueError as error:
        said = str(error).partition("\n")[2].strip() or "nothing more"
        raise BackendUnavailableError(
            what, reason=UnavailableReason.NO_DEVICE, cure=f"The library says: {said}. {kind.cure}".rstrip()
        ) from error


def _translate(error: Exception, variant: Variant, delegate: str, runtime: str) -> Exception:
    text = str(error)
    if _EDGE_TPU_OP in text:
        return BackendUnavailableError(
            f"The Edge TPU that {variant.file} is compiled for",
            reason=UnavailableReason.NO_DEVICE,
            cure="Plug in the Coral and install libedgetpu1-std, or deploy the bundle's CPU variant.",
        )
    if isinstance(error, ValueError) and "Flatbuffer" in text:
        return BundleFormatError(f"{variant.file} is no TFLite model: {text}. Convert again.")
    said = f"The runtime says: {text.splitlines()[0] if text else type(error).__name__}."
    if delegate:
        return BackendUnavailableError(
            f"Delegate {delegate!r} for {variant.file}",
            reason=UnavailableReason.REFUSED_MODEL,
            cure=f"{said} Convert for it, leave it out, or write `fallback: cpu`.",
        )
    return BackendUnavailableError(
        f"{runtime} for {variant.file}",
        reason=UnavailableReason.REFUSED_MODEL,
        cure=f"{said} Install the version that `edge-sdk inspect` names, or convert for this one.",
    )
