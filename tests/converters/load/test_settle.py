from __future__ import annotations

import random
from typing import Any

import numpy as np
import onnx

from converters.load.settle import settle
from tests.converters.quantize.onnx_models import answers, windows, wrapped


def _numbered(seed: int) -> Any:
    """The same model as tf2onnx might write it: numbers and the order of weights differ from run to run."""
    model: Any = wrapped()
    chance = random.Random(seed)
    names = sorted({name for node in model.graph.node for name in (*node.input, *node.output)} - {"x", "y"})
    numbers = chance.sample(range(100), len(names))
    new = {name: f"StatefulPartitionedCall/{name}__{n}" for name, n in zip(names, numbers, strict=True)}
    for node in model.graph.node:
        for values in (node.input, node.output):
            values[:] = [new.get(name, name) for name in values]
        node.name = f"{node.output[0]}/node"
    weights = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in model.graph.initializer]
    chance.shuffle(weights)
    del model.graph.initializer[:]
    model.graph.initializer.extend(weights)
    for tensor in model.graph.initializer:
        tensor.name = new[tensor.name]
    spare = onnx.helper.make_node("Relu", [new["logits"]], ["unused"], name="spare")
    model.graph.node.insert(len(model.graph.node) - 1, spare)
    return model


def test_numbers_and_order_are_the_same_each_time() -> None:
    models = [_numbered(seed) for seed in range(5)]
    before = {model.SerializeToString() for model in models}

    for model in models:
        settle(model)

    assert len(before) == 5
    assert len({model.SerializeToString() for model in models}) == 1


def test_what_was_settled_is_valid_and_answers_the_same() -> None:
    model = _numbered(7)

    settle(model)

    onnx.checker.check_model(model)
    assert not any("Stateful" in name or "unused" in name for node in model.graph.node for name in node.output)
    np.testing.assert_array_equal(answers(model, windows(10, seed=1)), answers(wrapped(), windows(10, seed=1)))
