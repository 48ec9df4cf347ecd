"""Operator versions: the lowest runtime that runs a TFLite or ONNX file."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from converters.targets import graph
from converters.targets.graph import read_graph
from edge_sdk.base.errors import ConversionError

_TABLE = Path(__file__).with_name("op_versions.json")

# The first LiteRT release cut after each TensorFlow release branch: an operator version of that TensorFlow is in it.
# Source: release dates of tensorflow and ai-edge-litert on PyPI.
_LITERT = (("2.18.0", "1.0.1"), ("2.19.0", "1.2.0"), ("2.20.0", "2.0.2"), ("2.21.0", "2.1.0"))

# Source: onnxruntime.ai/docs/reference/compatibility.html, opset of ai.onnx to the first release that runs it.
_ONNXRUNTIME = {
    13: "1.6",
    14: "1.9",
    15: "1.10",
    16: "1.11",
    17: "1.12",
    18: "1.14",
    19: "1.15",
    20: "1.17",
    21: "1.18",
}


class Operator(NamedTuple):
    """An operator in a TFLite file."""

    name: str
    version: int


def tflite_operators(model: bytes) -> tuple[Operator, ...]:
    """Every operator that the file declares; custom ones under their own names.

    Raises:
        ConversionError: It is no TFLite file.
    """
    from ai_edge_litert import schema_py_generated as schema

    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    try:
        codes: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0)).operatorCodes
    except Exception as error:  # flatbuffers raises whatever struct.unpack and indexing raise
        raise ConversionError(f"No TFLite file: {error}") from error
    found = []
    for code in codes or []:
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        name = code.customCode.decode() if code.customCode else names.get(number, f"BUILTIN_{number}")
        found.append(Operator(name, code.version))
    return tuple(found)


def tflite_runtimes(model: bytes) -> dict[str, str]:
    """Lowest version of ``litert`` and of ``tflite`` (tflite-runtime) that runs the file.

    An operator version that the table does not know is taken to need the newest runtime that it knows. What the types
    of tensors ask for is added: quantizers do not always raise an operator's version when they change its types, and
    an old runtime that believes the version then computes nonsense, or NaN for int4.
    """
    table = _load()
    newest = max((version for known in table.values() for version in known.values()), key=_numbers)
    lowest = "1.5.0"
    for operator in tflite_operators(model):
        if operator.name in table:
            needed = table[operator.name].get(operator.version, newest)
            lowest = max(lowest, needed, key=_numbers)
    floors = {_floor(operator) for operator in read_graph(model).operators}
    lowest = max(lowest, *floors, key=_numbers)
    litert = next((version for tf, version in _LITERT if _numbers(lowest) <= _numbers(tf)), "2.3.0")
    return {"litert": litert} if _NEVER in floors else {"litert": litert, "tflite": lowest}


_NEVER = "2.18.0"  # no tflite-runtime has it: 2.14 is the last one


def _floor(operator: graph.Operator) -> str:
    """The TensorFlow release whose kernels know the types that an operator works on."""
    kinds = {value.dtype for value in (*operator.inputs, *operator.outputs)}
    if "int4" in kinds:
        return _NEVER
    out = operator.outputs[0].dtype if operator.outputs else ""
    if operator.kind == "FULLY_CONNECTED" and out == "float32" and operator.inputs[1].n_scales > 1:
        return "2.17.0"  # version 12: a scale for each channel beside float activations
    if out == "int16" and "LSTM" not in operator.kind:
        return "2.6.0"
    return "1.14.0" if out == "int8" else "1.5.0"


def onnx_runtimes(opset: int) -> dict[str, str]:
    """Lowest version of ONNX Runtime that runs an opset of ``ai.onnx``."""
    known = [number for number in _ONNXRUNTIME if number >= opset]
    return {"onnxruntime": _ONNXRUNTIME[min(known)] if known else "1.20"}


@lru_cache(maxsize=1)
def _load() -> dict[str, dict[int, str]]:
    return msgspec.json.decode(_TABLE.read_bytes(), type=_Table).operators


class _Table(msgspec.Struct):
    source: str
    operators: dict[str, dict[int, str]]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
