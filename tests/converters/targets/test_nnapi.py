from __future__ import annotations

import onnx

from converters.targets.fit import fit
from edge_sdk.boards.profile import read_board
from tests.models import onnx_model, weights

ANDROID = read_board("android-nnapi")


def test_onnx_runtimes_own_checker_has_a_say() -> None:
    told = fit(onnx_model(weights()), ANDROID, precision="float32").delegations[0]

    assert told.delegate == "nnapi"
    assert "ONNX Runtime's own usability checker: 3 of 3 nodes in 1 part(s)" in told.notes[-1]
    assert told.share_of_operations == 1.0


def test_an_open_dimension_counts_for_nothing() -> None:
    model = onnx.load_from_string(onnx_model(weights()))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
    for dim in model.graph.output[0].type.tensor_type.shape.dim:
        dim.Clear()

    told = fit(model.SerializeToString(), ANDROID, precision="float32").delegations[0]

    assert told.share_of_operations == 0.0
    assert "0 of 3 nodes" in told.notes[-1]
    assert "suitable: no" in told.notes[-1]
