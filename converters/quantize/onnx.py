"""Writes ONNX models: slimmed by onnxslim, quantized by ONNX Runtime."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import onnxslim
from numpy.typing import NDArray
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

from converters.evaluate.layers import LayerError
from converters.load.base import Loaded
from converters.quantize.choice import closest
from converters.quantize.flatten import flattened
from converters.quantize.int4 import with_int4_weights
from converters.quantize.mixed import mixed
from converters.scheme import Scheme
from edge_sdk.base.errors import CalibrationError, ConversionError

_WITH_WEIGHTS = ["Conv", "Gemm", "MatMul"]
_STAYS_FLOAT = {"Softmax"}  # its answer leaves as float: steps of 1/256 would only make it coarser, and slower
_FEW = 4
_IR_VERSION = 8  # ONNX Runtime 1.12 and newer read it
_METHODS = {
    "int8": quantization.CalibrationMethod.MinMax,
    "int8-entropy": quantization.CalibrationMethod.Entropy,
    "int8-percentile": quantization.CalibrationMethod.Percentile,
}


class _Job(NamedTuple):
    symmetric: bool
    say: Callable[[str], None]


def write_onnx(
    loaded: Loaded, scheme: Scheme, calibration: NDArray[np.float32] | None, *, symmetric: bool = False
) -> tuple[bytes, dict[str, str]]:
    """Write an ONNX model.

    Args:
        loaded: The model.
        scheme: With format ``onnx``.
        calibration: Model inputs, ``(n, *input_shape[1:])``.
        symmetric: Quantize activations around zero: a bit less close, and the only form that TensorRT takes.

    Returns:
        The file's content, and the versions of the libraries that wrote it.

    Raises:
        ConversionError: The model cannot be written so.
    """
    if scheme.needs_calibration and calibration is None:
        raise CalibrationError(f"{scheme.precision} needs calibration data. Give --calibration train.npz.")
    versions = {
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "onnxslim": onnxslim.__version__,
    }
    model: Any = onnxslim.slim(flattened(loaded.as_onnx()))
    with tempfile.TemporaryDirectory(prefix="edge-sdk-onnx-") as name:
        folder = Path(name)
        onnx.save(model, folder / "float.onnx")
        if scheme.precision == "float32":
            written = folder / "float.onnx"
        else:
            written = _quantize(folder, scheme, model, calibration, _Job(symmetric, loaded.notes.append))
        return _sealed(written), versions


def _quantize(folder: Path, scheme: Scheme, model: Any, calibration: NDArray[np.float32] | None, job: _Job) -> Path:
    source, prepared, written = folder / "float.onnx", folder / "prepared.onnx", folder / "written.onnx"
    if scheme.precision == "float16":
        from onnxruntime.transformers.float16 import convert_float_to_float16
        from onnxruntime.transformers.onnx_model import OnnxModel

        halved = OnnxModel(convert_float_to_float16(model, keep_io_types=True))
        halved.topological_sort()  # the casts were put at the end
        onnx.save(halved.model, written)
        return written
    if scheme.precision == "int4":
        onnx.save(with_int4_weights(model), written)
        return written
    quant_pre_process(source, prepared, skip_symbolic_shape=True)  # every shape is fixed: nothing is symbolic
    if scheme.precision == "dynamic":
        quantization.quantize_dynamic(prepared, written, per_channel=True)
        return written
    assert calibration is not None
    named = onnx.load(prepared)
    for index, node in enumerate(named.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"
    onnx.save(named, prepared)
    if scheme.precision != "mixed":
        _static(prepared, written, calibration, _METHODS[scheme.precision], job.symmetric)
        written.write_bytes(closest(prepared.read_bytes(), [written.read_bytes()], calibration))
        return written
    nodes = {node.output[0]: node.name for node in named.graph.node}

    def without(layers: Sequence[LayerError]) -> bytes:
        out = [nodes[layer.name] for layer in layers if layer.name in nodes]
        _static(prepared, written, calibration, quantization.CalibrationMethod.MinMax, job.symmetric, out)
        return written.read_bytes()

    content, kept = mixed(prepared.read_bytes(), without, calibration)
    written.write_bytes(closest(prepared.read_bytes(), [content], calibration))
    names = ", ".join(f"#{layer.index} {layer.operator}" for layer in kept)
    job.say(f"mixed onnx keeps {names or 'no layer'} in float.")
    return written


def _static(
    prepared: Path,
    written: Path,
    calibration: NDArray[np.float32],
    method: Any,
    symmetric: bool,
    out: Sequence[str] = (),
) -> None:
    model = onnx.load(prepared)
    quantization.quantize_static(
        prepared,
        written,
        _Reader(model.graph.input[0].name, calibration),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QInt8,
        weight_type=quantization.QuantType.QInt8,
        op_types_to_quantize=_WITH_WEIGHTS if _is_unrolled(model) else None,
        nodes_to_exclude=[*out, *(node.name for node in model.graph.node if node.op_type in _STAYS_FLOAT)],
        calibrate_method=method,
        extra_options={"ActivationSymmetric": symmetric},
    )


def _is_unrolled(model: Any) -> bool:
    """Whether layers use one weight again and again, as an unrolled LSTM does.

    Its gates are many small operators; quantizing each costs more time and size than it saves.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    users = Counter(name for node in model.graph.node if node.op_type in _WITH_WEIGHTS for name in node.input)
    return any(count > _FEW and name in weights for name, count in users.items())


class _Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Hands the calibration windows to ONNX Runtime, one by one."""

    def __init__(self, name: str, calibration: NDArray[np.float32]) -> None:
        self._name, self._calibration = name, calibration
        self._next: Iterator[NDArray[np.float32]] = iter(calibration)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next window, or None at the end."""
        window = next(self._next, None)
        return None if window is None else {self._name: window[None]}

    def rewind(self) -> None:
        """Begin again."""
        self._next = iter(self._calibration)


def _sealed(path: Path) -> bytes:
    """The model without the names of tools and paths in it, checked."""
    model = onnx.load(path)
    if not any(tensor.data_type == onnx.TensorProto.INT4 for tensor in model.graph.initializer):
        model.ir_version = min(model.ir_version, _IR_VERSION)
    model.producer_name, model.producer_version, model.doc_string = "edge-sdk", "", ""
    for node in model.graph.node:
        node.doc_string = ""
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ConversionError(f"The ONNX model that came out is not valid: {error}") from error
    content: bytes = model.SerializeToString(deterministic=True)
    return content
