from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from converters.quantize.flatten import flattened
from tests.converters.quantize.onnx_models import answers, windows, wrapped


def _kinds(model: Any) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


@pytest.mark.parametrize("axis", [1, -3])
def test_a_convolution_over_time_loses_its_dimension_of_one_and_answers_the_same(axis: int) -> None:
    model, inputs = wrapped(axis=axis), windows(20, seed=1)

    flat = flattened(model)

    assert _kinds(flat)["Unsqueeze"] == 0
    assert _kinds(flat)["Squeeze"] == 1  # the mean's
    assert {len(tensor.dims) for tensor in flat.graph.initializer if tensor.name.endswith("/flat")} == {3}
    np.testing.assert_allclose(answers(flat, inputs), answers(model, inputs), atol=1e-6)


def test_a_value_inside_that_is_handed_on_stays_as_it_is() -> None:
    model = wrapped()
    model.graph.output.append(type(model.graph.output[0])(name="0/conv"))

    flat = flattened(model)

    assert _kinds(flat)["Squeeze"] == 2  # the first layer's and the mean's
    assert "0/conv" in {name for node in flat.graph.node for name in node.output}
    np.testing.assert_allclose(answers(flat, windows(5, seed=1)), answers(model, windows(5, seed=1)), atol=1e-6)


def test_what_moves_along_the_dimension_of_one_is_left_alone() -> None:
    model = wrapped()
    for node in model.graph.node:
        if node.op_type == "Conv":
            for attribute in node.attribute:
                if attribute.name == "pads":
                    attribute.ints[:] = [1, 1, 0, 2]
                if attribute.name == "strides":
                    attribute.ints[:] = [2, 2]

    assert _kinds(flattened(model)) == _kinds(model)
