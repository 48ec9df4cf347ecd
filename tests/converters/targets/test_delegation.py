from __future__ import annotations

from pathlib import Path

import pytest

from converters.targets.delegation import CHECKS, _load, delegation
from converters.targets.graph import read_graph
from converters.targets.seen import seen_on_xnnpack
from edge_sdk.base.errors import ConfigError, ConversionError
from tests.models import onnx_model, tflite_model, weights

SHARED = Path(__file__).parents[4] / "shared" / "models"
needs_models = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/models is not here")


def test_every_rule_names_a_check_that_exists() -> None:
    for rules in _load().values():
        assert set(rules.every) <= CHECKS.keys()
        for rule in rules.operators.values():
            assert set(rule.checks) <= CHECKS.keys()
        assert rules.sources


def test_a_float_model_maps_to_xnnpack_and_not_to_the_edge_tpu() -> None:
    graph = read_graph(tflite_model(weights()))

    assert delegation(graph, "xnnpack").share_of_operations == 1.0
    edge_tpu = delegation(graph, "edgetpu")
    assert edge_tpu.share_of_operations == 0.0
    assert "float32; wanted is int8" in edge_tpu.verdicts[0].reason
    assert delegation(graph, "edgetpu", as_int8=True).share_of_operations == 1.0


def test_a_graph_knows_its_work() -> None:
    for model in (tflite_model(weights()), onnx_model(weights())):
        graph = read_graph(model)

        assert graph.macs == weights().size
        assert graph.weight_bytes == weights().nbytes
        assert not graph.is_quantized


def test_a_delegate_without_rules_or_of_another_format_is_refused() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'edgetpu'"):
        delegation(read_graph(tflite_model(weights())), "edgtpu")
    with pytest.raises(ConfigError, match="takes tflite models, not onnx"):
        delegation(read_graph(onnx_model(weights())), "edgetpu")


def test_what_is_no_model_is_refused() -> None:
    for content in (b"", b"hello", b"\x00\x00\x00\x00TFL3" + b"\x00" * 4):
        with pytest.raises(ConversionError):
            read_graph(content)


@needs_models
@pytest.mark.parametrize("name", ["keras_lstm_mnist_ptq", "mobilenet_v1_0.25_128_quant", "split_concat"])
def test_the_rules_agree_with_the_edge_tpu_compiler(name: str) -> None:
    told = delegation(read_graph((SHARED / f"coral-edgetpu/{name}.tflite").read_bytes()), "edgetpu")
    compiled = delegation(read_graph((SHARED / f"coral-edgetpu/{name}_edgetpu.tflite").read_bytes()), "edgetpu")

    assert compiled.checked_by == "compiler"
    assert compiled.share_of_operations == 1.0  # the compiler left nothing over
    assert told.checked_by == "rules"
    assert told.share_of_operations == 1.0
    assert any("compiled for the Edge TPU already" in note for note in compiled.notes)


@needs_models
@pytest.mark.parametrize(
    "name", ["ad01_fp32", "ad01_int8", "pretrainedResnet", "pretrainedResnet_quant", "vww_96_float", "vww_96_int8"]
)
def test_the_rules_agree_with_what_xnnpack_really_takes(name: str) -> None:
    model = (SHARED / f"mlperf-tiny/{name}.tflite").read_bytes()

    told = delegation(read_graph(model), "xnnpack")
    seen = seen_on_xnnpack(model)

    assert [v.is_delegated for v in told.verdicts] == [v.is_delegated for v in seen.verdicts]
    assert told.partitions == seen.partitions
