"""Delegates: what computes in place of the CPU's own kernels; their names, libraries, options and cures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from edge_sdk.base.errors import BackendUnavailableError, ConfigError, UnavailableReason, nearest

_OPENS_WITHIN_S = 60.0
_BUILDS_WITHIN_S = 1800.0
_BUILDERS = {"tensorrt", "TensorrtExecutionProvider"}


class Delegate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A delegate (TFLite) or execution provider (ONNX Runtime) that is wanted, by name or by library."""

    name: Annotated[str, Meta(description="edgetpu, gpu, xnnpack, none, cuda, tensorrt …; default: the library's.")] = (
        ""
    )
    library: Annotated[str, Meta(description="Shared library of an external delegate or plug-in provider.")] = ""
    options: Annotated[
        dict[str, str | int | float | bool], Meta(description="Handed to the delegate as they are.")
    ] = {}
    timeout_s: Annotated[float, Meta(gt=0, description="A call that takes longer is given up, s.")] = 1.0
    open_timeout_s: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="Opening may take this long, s; default: 60, and 1800 for TensorRT, which builds its engine."),
    ] = None

    def __post_init__(self) -> None:
        if not self.name and not self.library:
            raise ConfigError("A delegate wants a name or a library. Write one of them.")

    @property
    def opens_within_s(self) -> float:
        """How long opening may take, seconds."""
        if self.open_timeout_s is not None:
            return self.open_timeout_s
        return _BUILDS_WITHIN_S if self.name in _BUILDERS else _OPENS_WITHIN_S

    @property
    def title(self) -> str:
        """What it is called in messages: the name, or the library's file name."""
        return self.name or PurePath(self.library).name


class Kind(NamedTuple):
    """What a name stands for on one runtime.

    Attributes:
        how: ``cpu`` (part of the runtime, runs in this process), ``external`` (a library with the TFLite plug-in
            functions), ``compiled`` (an accelerator of LiteRT's CompiledModel), ``provider`` (of ONNX Runtime), or
            ``nowhere`` (known, and no build of the runtime has it).
        target: Library, accelerator or full provider name.
        cure: What to do where it is not.
    """

    how: Literal["cpu", "external", "compiled", "provider", "nowhere"]
    target: str
    cure: str


_NNAPI = "NNAPI is Android's, and no Python build of the runtime has it. Name your board's library: `library: …so`."
_EXTERNAL = {
    "edgetpu": Kind(
        "external",
        "libedgetpu.so.1",
        "Plug in the Coral and install its runtime: sudo apt-get install libedgetpu1-std.",
    ),
    "armnn": Kind("external", "libarmnnDelegate.so", "Install Arm NN with its TfLite delegate, and name its backends."),
    "ethosu": Kind("external", "libethosu_delegate.so", "Install the Ethos-U delegate of your board's vendor."),
    "nnapi": Kind("nowhere", "", _NNAPI),
    "none": Kind("cpu", "", ""),
    "vx": Kind(
        "external", "libvx_delegate.so", "Install the VeriSilicon delegate of your board's vendor (i.MX 8M Plus)."
    ),
    "xnnpack": Kind("cpu", "", ""),
}
_LITERT = {
    **_EXTERNAL,
    "gpu": Kind("compiled", "GPU", "Install a Vulkan loader (libvulkan1) and driver; of Mesa's, one newer than 22.3."),
    "npu": Kind("compiled", "NPU", "Install the vendor's dispatch library for LiteRT."),
}
_TFLITE = {
    **_EXTERNAL,
    "gpu": Kind(
        "external", "libtensorflowlite_gpu_delegate.so", "Build it with Bazel from TensorFlow 2.14, or take litert."
    ),
}
_JETSON = (
    "On a Jetson install NVIDIA's wheel of onnxruntime-gpu for your JetPack; elsewhere: pip install onnxruntime-gpu."
)
_ONNX = {
    "cpu": Kind("cpu", "CPUExecutionProvider", ""),
    "cuda": Kind("provider", "CUDAExecutionProvider", _JETSON),
    "coreml": Kind("provider", "CoreMLExecutionProvider", "It exists on macOS and iOS alone."),
    "migraphx": Kind("provider", "MIGraphXExecutionProvider", "Install AMD's build of onnxruntime for your ROCm."),
    "nnapi": Kind("provider", "NnapiExecutionProvider", "NNAPI is Android's: take ONNX Runtime's Android package."),
    "none": Kind("cpu", "CPUExecutionProvider", ""),
    "openvino": Kind("provider", "OpenVINOExecutionProvider", "Run: pip install onnxruntime-openvino."),
    "qnn": Kind("provider", "QNNExecutionProvider", "Run on a Qualcomm board: pip install onnxruntime-qnn."),
    "tensorrt": Kind("provider", "TensorrtExecutionProvider", f"{_JETSON} It needs TensorRT's libraries, too."),
    "webgpu": Kind("provider", "WebGpuExecutionProvider", "Run: pip install onnxruntime-ep-webgpu; it needs Vulkan."),
    "xnnpack": Kind("cpu", "XnnpackExecutionProvider", "No published wheel has it: build with --use_xnnpack."),
}
_KNOWN = {"litert": _LITERT, "tflite": _TFLITE, "onnxruntime": _ONNX}


def known(runtime: str) -> dict[str, Kind]:
    """Every name that a runtime of ours knows, with what it stands for."""
    return dict(_KNOWN.get(runtime, {}))


def kind_of(delegate: Delegate, runtime: str) -> Kind:
    """What a wanted delegate is on `runtime`.

    Raises:
        BackendUnavailableError: The runtime knows no such name, and no library is given.
    """
    table = _KNOWN.get(runtime)
    how: Literal["external", "provider"] = "provider" if runtime == "onnxruntime" else "external"
    if delegate.library:
        said = table.get(delegate.name) if table else None
        return Kind(how, said.target if said and how == "provider" else delegate.library, said.cure if said else "")
    if table is None:
        return Kind("cpu" if delegate.name in {"cpu", "none", "xnnpack"} else how, delegate.name, "")
    full_names = {kind.target: kind for kind in table.values() if how == "provider"}
    found = table.get(delegate.name) or full_names.get(delegate.name)
    if found is None and how == "provider" and delegate.name.endswith("ExecutionProvider"):
        return Kind("provider", delegate.name, "Install a build of onnxruntime that has it.")
    if found is None:
        raise BackendUnavailableError(
            f"Delegate {delegate.name!r} on {runtime}",
            reason=UnavailableReason.NOT_COMPILED_IN,
            cure=f"{nearest(delegate.name, table)} Any other is named by its library: `library: lib….so`.",
        )
    return found


def wanted(given: Iterable[str | Delegate]) -> tuple[Delegate, ...]:
    """Names and delegates, as delegates; a name that is a shared library's becomes its library."""
    return tuple(one if isinstance(one, Delegate) else _by_name(one) for one in given)


def runs_here(delegate: Delegate, runtime: str) -> bool:
    """Whether it is part of the CPU's own runtime, which neither hangs nor crashes: no process of its own."""
    return not delegate.library and kind_of(delegate, runtime).how == "cpu"


def _by_name(name: str) -> Delegate:
    is_library = name.endswith(".so") or ".so." in name
    return Delegate(library=name) if is_library else Delegate(name=name)
