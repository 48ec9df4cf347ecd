"""Tiny real models, made without TensorFlow: a dense layer and a softmax over a flattened window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_sdk.contract.bundle import Bundle, write_bundle
from edge_sdk.contract.manifest import Channel, Manifest, Step, Variant, Windowing
from edge_sdk.contract.tensor import TensorSpec
from edge_sdk.contract.trust import SigningKey
from edge_sdk.contract.window import Window
from edge_sdk.inference.scripted import Script

LABELS = ("low", "middle", "high")
LENGTH, CHANNELS = 4, 2
WINDOWING = Windowing(length=LENGTH, stride=2, rate_hz=2.0)
INPUT = TensorSpec(name="x", shape=(1, LENGTH, CHANNELS), dtype="float32")
OUTPUT = TensorSpec(name="p", shape=(1, len(LABELS)), dtype="float32")


def weights(seed: int = 0) -> NDArray[np.float32]:
    """``(n_labels, length · channels)``."""
    return np.random.default_rng(seed).normal(size=(len(LABELS), LENGTH * CHANNELS)).astype(np.float32)


def expected(samples: NDArray[np.float32], w: NDArray[np.float32]) -> NDArray[np.float64]:
    """What the model answers to samples in its own units."""
    z = w.astype(np.float64) @ samples.astype(np.float64).ravel()
    e = np.exp(z - z.max())
    return np.asarray(e / e.sum())


def onnx_model(w: NDArray[np.float32], *, shape: tuple[int, ...] = INPUT.shape) -> bytes:
    """The model as ONNX, with an input of that shape."""
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["x"], ["flat"]),
            helper.make_node("Gemm", ["flat", "w"], ["z"], transB=1),
            helper.make_node("Softmax", ["z"], ["p"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, OUTPUT.shape)],
        [numpy_helper.from_array(w, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def tflite_model(w: NDArray[np.float32], *, shape: tuple[int, ...] = INPUT.shape) -> bytes:
    """The model as TFLite, with an input of that shape."""
    import ai_edge_litert.schema_py_generated as s
    import flatbuffers

    def tensor(name: str, shape: tuple[int, ...], buffer: int = 0) -> Any:
        made = s.TensorT()
        made.name, made.shape, made.buffer, made.type = name.encode(), list(shape), buffer, s.TensorType.FLOAT32
        return made

    def operator(code: int, inputs: list[int], outputs: list[int], kind: int, options: Any) -> Any:
        made = s.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = code, inputs, outputs
        made.builtinOptionsType, made.builtinOptions = kind, options
        return made

    def code(builtin: int) -> Any:
        made = s.OperatorCodeT()
        made.builtinCode, made.deprecatedBuiltinCode, made.version = builtin, builtin, 1
        return made

    def buffer(data: bytes) -> Any:
        made = s.BufferT()
        made.data = np.frombuffer(data, np.uint8) if data else None
        return made

    dense, softmax = s.FullyConnectedOptionsT(), s.SoftmaxOptionsT()
    softmax.beta = 1.0
    graph = s.SubGraphT()
    graph.tensors = [
        tensor("x", shape),
        tensor("w", w.shape, 1),
        tensor("z", OUTPUT.shape),
        tensor("p", OUTPUT.shape),
    ]
    graph.inputs, graph.outputs = [0], [3]
    graph.operators = [
        operator(0, [0, 1, -1], [2], s.BuiltinOptions.FullyConnectedOptions, dense),
        operator(1, [2], [3], s.BuiltinOptions.SoftmaxOptions, softmax),
    ]
    model = s.ModelT()
    model.version = 3
    model.operatorCodes = [code(s.BuiltinOperator.FULLY_CONNECTED), code(s.BuiltinOperator.SOFTMAX)]
    model.subgraphs, model.buffers = [graph], [buffer(b""), buffer(w.tobytes())]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def scripted_model(*answers: tuple[float | None, ...], fail_at: tuple[int, ...] = ()) -> bytes:
    """A script for the registered fake."""
    import msgspec

    return msgspec.json.encode(Script(answers=answers, fail_at=fail_at))


def tiny_bundle(
    path: Path,
    *,
    name: str = "tiny",
    sensor: str = "thing",
    seed: int = 0,
    key: SigningKey | None = None,
    answers: tuple[tuple[float | None, ...], ...] = (),
    **changes: Any,
) -> Bundle:
    """A bundle with the model in both formats, or with a script when `answers` are given."""
    import msgspec

    w = weights(seed)
    check = np.random.default_rng(seed + 1).normal(size=(2, LENGTH, CHANNELS)).astype(np.float32)
    right = np.stack([expected(sample, w) for sample in check]).astype(np.float32)
    files = {"check-input.npy": npy(check), "check-output.npy": npy(right)}

    def variant(file: str, format: Any) -> Variant:
        return Variant(
            file=file,
            format=format,
            precision="float32",
            inputs=(INPUT,),
            outputs=(OUTPUT,),
            check_output="" if answers else "check-output.npy",
            tolerance=1e-4,
        )

    if answers:
        files["script.json"] = scripted_model(*answers)
        variants: tuple[Variant, ...] = (variant("script.json", "tflite"),)
    else:
        files |= {"float32.tflite": tflite_model(w), "float32.onnx": onnx_model(w)}
        variants = (variant("float32.tflite", "tflite"), variant("float32.onnx", "onnx"))
    manifest = Manifest(
        name=name,
        task="classification",
        sensor=sensor,
        channels=(Channel(name="a", unit="V", minimum=-100.0, maximum=100.0), Channel(name="b", unit="V")),
        windowing=WINDOWING,
        preprocess=(Step(kind="scale", options={"factor": 1.0}),),
        labels=LABELS,
        variants=variants,
        check_input="check-input.npy",
        files={},
    )
    return write_bundle(path, msgspec.structs.replace(manifest, **changes), files, key=key)


def npy(array: NDArray[Any]) -> bytes:
    """An array as the bytes of a ``.npy`` file."""
    import io

    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def window(samples: NDArray[np.float32] | None = None, *, sensor: str = "thing", coverage: float = 1.0) -> Window:
    """A window on the tiny model's grid, ending at 2 s."""
    if samples is None:
        samples = np.linspace(-1, 1, LENGTH * CHANNELS, dtype=np.float32).reshape(LENGTH, CHANNELS)
    return Window(sensor, 0, 2_000_000_000, samples, coverage=coverage, observed_ns=2_000_000_000)
