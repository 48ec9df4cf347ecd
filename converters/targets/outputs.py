"""Outputs: the answer first, then the features, however a TFLite file has sorted them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge_sdk.contract.tensor import TensorSpec

_ORDER = ("answer", "features")


def output_tensors(model: bytes) -> list[int]:
    """Tensor indices of a TFLite file's outputs: by our names in its signature, else as they stand."""
    from ai_edge_litert import schema_py_generated as schema

    tree: Any = schema.Model.GetRootAs(model, 0)
    graph = tree.Subgraphs(0)
    standing = [int(graph.Outputs(index)) for index in range(graph.OutputsLength())]
    if len(standing) < 2 or not tree.SignatureDefsLength():
        return standing
    signature = tree.SignatureDefs(0)
    named = {
        signature.Outputs(index).Name().decode(): int(signature.Outputs(index).TensorIndex())
        for index in range(signature.OutputsLength())
    }
    ours = [named[name] for name in _ORDER if name in named]
    return ours if sorted(ours) == sorted(standing) else standing


def answer_first(model: bytes, specs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """The output specs of a TFLite file, sorted so.

    Args:
        model: The file.
        specs: As the interpreter gives them.
    """
    from ai_edge_litert import schema_py_generated as schema

    graph: Any = schema.Model.GetRootAs(model, 0).Subgraphs(0)
    by_name = {spec.name: spec for spec in specs}
    names = [graph.Tensors(index).Name().decode() for index in output_tensors(model)]
    return tuple(by_name[name] for name in names)
