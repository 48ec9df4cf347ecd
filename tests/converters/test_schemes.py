from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from converters.evaluate.layers import LayerError
from converters.pipeline import convert
from converters.quantize.int4 import with_int4_weights
from converters.quantize.mixed import by_sensitivity, mixed
from converters.scheme import FORMATS, PRECISIONS, WORDS, Scheme, every_scheme
from converters.targets.op_versions import tflite_runtimes
from tests.converters.conftest import RECIPE

RNG = np.random.default_rng(6)


def test_every_precision_is_said_in_words_and_has_a_file_of_its_own() -> None:
    every = {Scheme(name, precision) for name in FORMATS for precision in PRECISIONS[name]}

    assert {scheme.precision for scheme in every} == WORDS.keys()
    assert len({scheme.file for scheme in every}) == len(every)
    assert set(every_scheme(FORMATS)) <= every


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_a_keras_model_becomes_every_precision(models: Path, tmp_path: Path, format: str) -> None:
    done = convert(
        models / "model.keras",
        RECIPE,
        calibration=models / "train.npz",
        evaluate=models / "test.npz",
        precision=[name for name in WORDS if name in PRECISIONS[format]],  # type: ignore[index]
        formats=(format,),
        out=tmp_path / "out.edge",
    )

    rows = {row.precision: row for row in done.report}
    assert rows.keys() == set(PRECISIONS[format])  # type: ignore[index]
    for row in done.report:
        assert row.quantized >= row.float_value - 0.02, row
    assert rows["int4"].bytes < rows["float32"].bytes
    assert rows["mixed"].worst <= max(rows["int8"].worst * 1.2, 0.02)
    assert any(note.startswith(f"mixed {format} keeps #") for note in done.notes)
    if format == "tflite":
        assert "tflite" not in rows["int4"].runtimes  # the old runtime answers NaN, and says nothing
        assert rows["int16x8"].runtimes["tflite"].lowest == "2.6.0"
        assert done.manifest.variants[list(rows).index("int8-float-io")].inputs[0].dtype == "float32"


def _dense(shape: tuple[int, int], *, transposed: bool = False) -> onnx.ModelProto:
    """A convolution and a dense layer, both large enough to be packed."""
    helper, info, kind = onnx.helper, onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    w = RNG.normal(size=shape).astype(np.float32)
    k = RNG.normal(size=(6, 2, 8)).astype(np.float32)
    n_in, n_out = shape[::-1] if transposed else shape
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "k"], ["c"], pads=[0, 7]),
            helper.make_node("Flatten", ["c"], ["flat"]),
            helper.make_node("Gemm", ["flat", "w"], ["y"], transB=int(transposed)),
        ],
        "dense",
        [info("x", kind, [1, 2, n_in // 6])],
        [info("y", kind, [1, n_out])],
        [onnx.numpy_helper.from_array(w, "w"), onnx.numpy_helper.from_array(k, "k")],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("transposed", [False, True])
def test_int4_weights_are_an_eighth_and_answer_alike(transposed: bool) -> None:
    import onnxruntime

    model = _dense((24, 60) if transposed else (60, 24), transposed=transposed)

    small = with_int4_weights(model)

    assert [node.op_type for node in small.graph.node[:2]] == ["DequantizeLinear"] * 2
    packed = [tensor for tensor in small.graph.initializer if tensor.data_type == onnx.TensorProto.INT4]
    assert sorted(len(tensor.raw_data or tensor.int32_data) for tensor in packed) != []
    assert small.ByteSize() < 0.35 * model.ByteSize()
    onnx.checker.check_model(small)
    x = RNG.normal(size=(40, 1, 2, 10)).astype(np.float32)
    answers = []
    for each in (model, small):
        session = onnxruntime.InferenceSession(each.SerializeToString(), providers=["CPUExecutionProvider"])
        answers.append(np.concatenate([session.run(None, {"x": window})[0] for window in x]))
    error = np.square(answers[1] - answers[0]).mean() / answers[0].var()
    assert error < 0.04


def test_a_weight_that_something_else_reads_stays_as_it_is() -> None:
    model = _dense((60, 24))
    model.graph.node.append(onnx.helper.make_node("ReduceSum", ["w"], ["sum"]))
    model.graph.output.append(onnx.helper.make_tensor_value_info("sum", onnx.TensorProto.FLOAT, None))

    small = with_int4_weights(model)

    assert "w" in {tensor.name for tensor in small.graph.initializer}


def _layer(index: int, sqnr_db: float, operator: str = "CONV_2D") -> LayerError:
    return LayerError(index=index, operator=operator, name=f"l{index}", sqnr_db=sqnr_db, cosine=1.0, bias=0.0)


def test_the_layer_that_adds_most_noise_is_the_most_sensitive() -> None:
    layers = [_layer(0, 40), _layer(1, 20), _layer(2, 19, "RELU"), _layer(3, 19), _layer(4, 10)]

    assert [layer.index for layer in by_sensitivity(layers)] == [4, 1, 0, 3]


def test_mixed_keeps_as_few_layers_as_halve_the_error() -> None:
    from tests.models import onnx_model, weights

    right = weights()
    asked: list[int] = []

    def make(out: object) -> bytes:
        assert isinstance(out, tuple)
        asked.append(len(out))
        return onnx_model(right * np.float32(1.0 if out else 1.3))

    content, kept = mixed(onnx_model(right), make, RNG.normal(size=(40, 4, 2)).astype(np.float32))

    assert asked == [0, 1]
    assert [layer.operator for layer in kept] == ["Gemm"]
    assert content == onnx_model(right)


def test_int4_is_never_for_the_old_runtime(tmp_path: Path) -> None:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    from tests.models import tflite_model, weights

    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAs(tflite_model(weights()), 0))
    tree.subgraphs[0].tensors[1].type = schema.TensorType.INT4
    builder = flatbuffers.Builder(1024)
    builder.Finish(tree.Pack(builder), file_identifier=b"TFL3")

    assert tflite_runtimes(bytes(builder.Output())).keys() == {"litert"}
