from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from converters.evaluate.explanation import explain
from converters.pipeline import convert
from converters.targets.edgetpu_compiler import compiler, read_log
from converters.targets.fit import fit
from converters.targets.graph import Graph, Operator, Value, read_graph
from edge_sdk.base.errors import BackendUnavailableError, ConversionError
from edge_sdk.boards.profile import read_board
from edge_sdk.inference.model import Model
from tests.converters.conftest import RECIPE, ROOT

CORAL = ROOT.parent / "shared" / "models" / "coral-edgetpu"
CORAL_BOARD = read_board("coral-dev-board")
needs_models = pytest.mark.skipif(not CORAL.is_dir(), reason="the Coral models are not at ../shared/models")

# The form is that of version 16 of the real compiler.
LOG = """Edge TPU Compiler version 16.0.384591198
Started a compilation timeout timer of 180 seconds.

Model compiled successfully in 1354 ms.

Input model: model.tflite
Input size: 5.10MiB
Off-chip memory used for streaming uncached model parameters: 0.00B
Number of Edge TPU subgraphs: 1
Total number of operations: 4
Number of operations that will run on Edge TPU: 3
Number of operations that will run on CPU: 1

Operator                       Count      Status

CONV_2D                        2          Mapped to Edge TPU
CONCATENATION                  1          More than one subgraph is not supported
CONCATENATION                  1          Mapped to Edge TPU
"""


def _graph(*kinds: str) -> Graph:
    value = Value("v", (1, 4), "int8")
    return Graph("tflite", tuple(Operator(index, kind, 1, (value,), (value,)) for index, kind in enumerate(kinds)))


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[Path]:
    """The stub as an executable on PATH."""
    path = tmp_path / "bin" / "edgetpu_compiler"
    path.parent.mkdir()
    path.write_text(
        f'#!/bin/sh\ncd {ROOT} && exec {sys.executable} -m tests.converters.targets.edgetpu_compiler_stub "$@"\n'
    )
    path.chmod(0o755)
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{path.parent}{os.pathsep}{before}"
    yield path
    os.environ["PATH"] = before


def test_a_log_tells_each_operator_and_why_not() -> None:
    told = read_log(LOG, _graph("CONV_2D", "CONCATENATION", "CONV_2D", "CONCATENATION", "MEAN"))

    assert [verdict.is_delegated for verdict in told.verdicts] == [True, True, True, False, False]
    assert told.verdicts[3].reason == "the compiler says: More than one subgraph is not supported"
    assert "does not name it" in told.verdicts[4].reason
    assert (told.checked_by, told.partitions) == ("compiler", 1)
    assert told.notes == ("Compiled by Edge TPU Compiler 16.0.384591198.",)


@needs_models
def test_a_compiler_on_the_path_is_asked(stub: Path) -> None:
    model = (CORAL / "mobilenet_v1_0.25_128_quant.tflite").read_bytes()

    [told, *_] = fit(model, CORAL_BOARD, precision="int8").delegations

    assert compiler() == str(stub)
    assert told.checked_by == told.coverage.checked_by == "compiler"
    left = [verdict.operator for verdict in told.verdicts if not verdict.is_delegated]
    assert left == ["SOFTMAX"]
    assert "stub of the tests" in told.notes[0]
    assert "41.75KiB of weights do not fit on the chip" in told.notes[1]


def test_what_the_compiler_makes_is_packed_beside_the_variant_for_the_cpu(stub: Path, models: Path) -> None:
    done = convert(
        models / "model.keras",
        RECIPE,
        calibration=models / "train.npz",
        evaluate=models / "test.npz",
        formats=("tflite",),
        board="coral-dev-board",
        out=stub.parent / "out.edge",
    )

    plain, tpu = done.manifest.variants
    assert (plain.file, tpu.file) == ("int8.tflite", "int8_edgetpu.tflite")
    assert read_graph(done.files[tpu.file]).is_compiled
    assert (tpu.precision, tpu.inputs, tpu.check_output) == (plain.precision, plain.inputs, plain.check_output)
    assert tpu.metrics == ()  # nothing here could measure it
    assert [(each.delegate, each.checked_by) for each in tpu.delegates] == [("edgetpu", "compiler")]
    assert len(done.report) == 1
    assert "int8_edgetpu.tflite is compiled for the Edge TPU" in " ".join(done.notes)
    assert Model.open(done).in_use().variant == "int8.tflite"
    with pytest.raises(BackendUnavailableError, match="edgetpu"):
        Model.open(done, delegates=["edgetpu"])
    told = explain(done)
    assert [each.precision for each in told.variants] == ["int8"]
    assert "int8_edgetpu.tflite is compiled" in told.notes[-1]


@needs_models
@pytest.mark.skipif(compiler() is not None, reason="a real edgetpu_compiler is on PATH")
def test_without_a_compiler_the_rules_are_asked_and_it_is_said() -> None:
    model = (CORAL / "mobilenet_v1_0.25_128_quant.tflite").read_bytes()

    [told, *_] = fit(model, CORAL_BOARD, precision="int8").delegations

    assert told.checked_by == "rules"
    assert told.notes[0].startswith("Checked by rules, not compiled")


@needs_models
def test_a_compiler_that_fails_is_an_error_with_its_words(stub: Path) -> None:
    stub.write_text("#!/bin/sh\necho 'Internal compiler error. Aborting!' >&2\nexit 134\n")

    with pytest.raises(ConversionError, match=r"ends with 134 .*Internal compiler error\. Aborting!"):
        fit((CORAL / "mobilenet_v1_0.25_128_quant.tflite").read_bytes(), CORAL_BOARD, precision="int8")


@needs_models
def test_a_float_model_is_not_given_to_the_compiler(stub: Path) -> None:
    from tests.models import tflite_model, weights

    [told, *_] = fit(tflite_model(weights()), CORAL_BOARD, precision="int8").delegations

    assert told.checked_by == "rules"


@needs_models
def test_a_model_that_was_compiled_is_told_as_the_compiler_left_it() -> None:
    graph = read_graph((CORAL / "mobilenet_v1_0.25_128_quant_edgetpu.tflite").read_bytes())

    assert graph.is_compiled
    [told] = fit(
        (CORAL / "mobilenet_v1_0.25_128_quant_edgetpu.tflite").read_bytes(), CORAL_BOARD, precision="int8"
    ).delegations
    assert told.checked_by == "compiler"
    assert told.share_of_operations == 1.0
