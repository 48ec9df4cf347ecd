"""ONNX Runtime: the runtime for ONNX models, on the CPU and on Jetson's providers."""

from __future__ import annotations

import ctypes
import importlib
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
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
from edge_sdk.inference import assignment
from edge_sdk.inference.base import BackendRequest
from edge_sdk.inference.calls import Bound, Fed
from edge_sdk.inference.delegates import Delegate, Kind, kind_of
from edge_sdk.inference.quantizer import Quantizer

_CPU = "CPUExecutionProvider"
_PACKAGES = {"WebGpuExecutionProvider": "onnxruntime_ep_webgpu"}  # providers that are plug-ins with a package of theirs
_STEMS = {"CUDAExecutionProvider": "cuda", "TensorrtExecutionProvider": "tensorrt"}
_KEEPS: dict[str, dict[str, Any]] = {  # None = the directory
    "OpenVINOExecutionProvider": {"cache_dir": None},
    "TensorrtExecutionProvider": {
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": None,
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": None,
    },
}
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}
_NOISE = re.compile(r"^/\S+\.cc:\d+ .*?(?: was false\. |&\) )")  # where in its sources
_NO_DRIVER = "Is the device there, with its driver? Or write `fallback: cpu`."
_REFUSED = (failures.Fail, failures.InvalidGraph, failures.InvalidProtobuf, failures.NotImplemented)


class OnnxRuntimeBackend:
    """A model opened in an ONNX Runtime session.

    Attributes:
        runtime: ``onnxruntime``.
        version: Its version.
        variant: What runs.
        coverage: How many of the nodes each execution provider really got, asked of the session after it was made.
    """

    runtime = "onnxruntime"
    version: str = api.__version__

    def __init__(self, model: bytes, variant: Variant, request: BackendRequest) -> None:
        self.variant = variant
        self._session, self.coverage = _open(model, variant, request)
        inputs, outputs = _specs(self._session.get_inputs()), _specs(self._session.get_outputs())
        _match(inputs, variant.inputs)
        _match(outputs, variant.outputs)
        is_on_cpu = set(self._session.get_providers()) == {_CPU}  # others may still write when a bound call returns
        self._outputs = [Quantizer(spec) for spec in variant.outputs]
        self._call: Any = Bound(self._session, variant) if is_on_cpu else Fed(self._session, variant)

    def run(self, inputs: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Run once: float32 inputs in the variant's shapes, fresh float32 outputs."""
        for spec, given in zip(self.variant.inputs, inputs, strict=True):
            if given.shape != spec.shape:
                raise TensorMismatchError(spec.name, want=f"{spec.shape}", got=f"{given.shape}")
        try:
            answers = self._call.run(inputs)
        except (RuntimeError, *_REFUSED) as error:
            raise InferenceError(f"onnxruntime failed on {self.variant.file}: {error}.") from error
        return [tensor.dequantize(answer) for tensor, answer in zip(self._outputs, answers, strict=True)]

    def close(self) -> None:
        """Let go of the session."""
        self._call = self._session = None


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
    session = _session(model, variant, _options(1), [])
    return _specs(session.get_inputs()), _specs(session.get_outputs())


def _open(model: bytes, variant: Variant, request: BackendRequest) -> tuple[Any, tuple[Coverage, ...]]:
    """A session with every provider that is wanted, and what each of them got.

    Raises:
        BackendUnavailableError: One of them is not here, or the first takes nothing of the model.
    """
    wanted = [(one, kind_of(one, "onnxruntime")) for one in request.delegates]
    wanted = [(one, kind) for one, kind in wanted if kind.target != _CPU]
    options = _options(request.threads)
    if not wanted:
        whole = Coverage(delegate=_CPU, share_of_operations=1.0, checked_by="run")
        return _session(model, variant, options, []), (whole,)
    options.add_session_config_entry(assignment.RECORD, "1")
    built_in, names = [], []
    for one, kind in wanted:
        if library := _plug_in(one, kind):
            names.append(_add_plug_in(options, one, library, kind.cure))
        elif kind.target in api.get_available_providers():
            built_in.append((kind.target, {**_kept(kind.target, request.cache), **one.options}))
            names.append(kind.target)
        else:
            raise _not_compiled_in(kind)
    session = _session(model, variant, options, built_in)
    for (_, kind), name in zip(wanted, names, strict=True):
        if name not in session.get_providers():
            raise _silently_left_out(name, kind.cure)
    nodes = assignment.recorded(session) or _profile(model, variant, request, built_in)
    shares = assignment.coverage(nodes, names)
    if nodes and not nodes.get(names[0]):
        taken = ", ".join(f"{part.delegate} {part.share_of_operations:.0%}" for part in shares)
        raise BackendUnavailableError(
            f"Execution provider {names[0]!r} for {variant.file}",
            reason=UnavailableReason.REFUSED_MODEL,
            cure=f"It takes none of the operators ({taken}). Leave it out, or write `fallback: cpu`.",
        )
    return session, shares


def check_compiled_in(delegate: Delegate) -> None:
    """Say early that this build of ONNX Runtime cannot have a provider; opens nothing.

    Raises:
        BackendUnavailableError: It is neither part of the build, nor an installed plug-in.
    """
    kind = kind_of(delegate, "onnxruntime")
    if kind.target not in api.get_available_providers() and not _plug_in(delegate, kind):
        raise _not_compiled_in(kind)


def _not_compiled_in(kind: Kind) -> BackendUnavailableError:
    return BackendUnavailableError(
        f"Execution provider {kind.target!r}",
        reason=UnavailableReason.NOT_COMPILED_IN,
        cure=f"This build has {', '.join(api.get_available_providers())}. {kind.cure}",
    )


def _options(threads: int) -> Any:
    options = api.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other models need the cores
    return options


def _session(model: bytes, variant: Variant, options: Any, providers: list[tuple[str, dict[str, Any]]]) -> Any:
    chosen = [*providers, _CPU] if providers or not options.has_providers() else None
    try:
        return api.InferenceSession(model, options, providers=chosen, enable_fallback=0)
    except failures.InvalidProtobuf as error:
        raise BundleFormatError(f"{variant.file} is no ONNX model: {error}. Convert again.") from error
    except (RuntimeError, ValueError, *_REFUSED) as error:
        text = _NOISE.sub("", str(error).splitlines()[0])
        names = " with " + ", ".join(name for name, _ in providers) if providers else ""
        raise BackendUnavailableError(
            f"onnxruntime {api.__version__}{names} for {variant.file}",
            reason=_reason(text, providers),
            cure=f"The runtime says: {text}",
        ) from error


def _reason(text: str, providers: list[tuple[str, dict[str, Any]]]) -> UnavailableReason:
    """What an error while opening is about, as far as its words tell."""
    words = text.lower()
    if providers and any(word in words for word in ("librar", "cannot open shared object", ".so")):
        return UnavailableReason.LIBRARY_NOT_FOUND
    if providers and any(word in words for word in ("adapter", "device")):
        return UnavailableReason.NO_DEVICE
    return UnavailableReason.REFUSED_MODEL


def _plug_in(delegate: Delegate, kind: Kind) -> str:
    """The library of a plug-in provider: given, or of an installed package; empty = it is no plug-in."""
    if delegate.library:
        return delegate.library
    package = _PACKAGES.get(kind.target)
    if package is None or kind.target in api.get_available_providers():
        return ""
    try:
        return str(importlib.import_module(package).get_library_path())
    except ModuleNotFoundError:
        return ""


def _add_plug_in(options: Any, delegate: Delegate, library: str, cure: str) -> str:
    """Register a plug-in provider and put its first device into the options; its full name."""
    what = f"Execution provider {delegate.title!r}"
    before = {device.ep_name for device in api.get_ep_devices()}
    try:
        api.register_execution_provider_library(delegate.title, library)
    except (RuntimeError, *_REFUSED) as error:
        if "already" not in str(error):
            says = f"{str(error).splitlines()[0]} {cure}".rstrip()
            raise BackendUnavailableError(what, reason=UnavailableReason.LIBRARY_NOT_FOUND, cure=says) from error
    devices = [device for device in api.get_ep_devices() if device.ep_name not in before]
    if not devices:
        raise BackendUnavailableError(
            what, reason=UnavailableReason.NO_DEVICE, cure=f"Its library is here and finds no device. {_NO_DRIVER}"
        )
    options.add_provider_for_devices(devices[:1], {name: str(value) for name, value in delegate.options.items()})
    return str(devices[0].ep_name)


def _kept(provider: str, cache: str) -> dict[str, Any]:
    """Options that keep a compiled engine for the next start."""
    if not cache or provider not in _KEEPS:
        return {}
    Path(cache).mkdir(parents=True, exist_ok=True)
    return {name: cache if value is None else value for name, value in _KEEPS[provider].items()}


def _silently_left_out(name: str, cure: str) -> BackendUnavailableError:
    """ONNX Runtime goes on without a provider whose libraries or device it does not find; here is why it did."""
    library = Path(api.__file__).parent / "capi" / f"libonnxruntime_providers_{_STEMS.get(name, '')}.so"
    reason, says = UnavailableReason.NO_DEVICE, f"The session was made without it. {_NO_DRIVER}"
    if library.is_file():
        try:
            ctypes.CDLL(str(library))
        except OSError as error:
            reason, says = UnavailableReason.LIBRARY_NOT_FOUND, f"{error}. {cure}"
    return BackendUnavailableError(f"Execution provider {name!r}", reason=reason, cure=says)


def _profile(
    model: bytes, variant: Variant, request: BackendRequest, providers: list[tuple[str, dict[str, Any]]]
) -> Counter[str]:
    """Nodes by provider as one profiled call shows them, for versions that do not record the assignment."""
    if not providers:
        return Counter()
    with tempfile.TemporaryDirectory(prefix="edge-sdk-") as directory:
        options = _options(request.threads)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(directory) / "profile")
        session = _session(model, variant, options, providers)
        session.run(None, {spec.name: np.zeros(spec.shape, spec.dtype) for spec in variant.inputs})
        return assignment.profiled(Path(session.end_profiling()))


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
