"""Placement: which nodes of a TFLite graph a delegate really took, read back from the interpreter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edge_sdk.contract.manifest import Coverage

DELEGATE = "DELEGATE"


def partitions(operators: Sequence[Mapping[str, Any]]) -> int:
    """How many parts of the graph run in a delegate so far."""
    return sum(1 for operator in operators if operator["op_name"] == DELEGATE)


def coverage(delegate: str, operators: Sequence[Mapping[str, Any]], *, first: int, last: int) -> Coverage:
    """What the partitions number `first` to `last` (exclusive, in the order of their making) took.

    The interpreter lists every node of the file, and after them one node for each partition, which names only the
    tensors that enter and leave it: what lies between them is what the delegate took.

    Args:
        delegate: Its name.
        operators: What ``Interpreter._get_ops_details()`` says: ``op_name``, ``inputs``, ``outputs`` of each node.
        first: Number of the delegate's first partition.
        last: Number after its last.
    """
    own = [operator for operator in operators if operator["op_name"] != DELEGATE]
    parts = [operator for operator in operators if operator["op_name"] == DELEGATE][first:last]
    maker = {int(tensor): index for index, operator in enumerate(own) for tensor in operator["outputs"]}
    taken: set[int] = set()
    for part in parts:
        edge = {int(tensor) for tensor in part["inputs"]}
        waiting = [int(tensor) for tensor in part["outputs"]]
        while waiting:
            tensor = waiting.pop()
            node = maker.get(tensor)
            if tensor in edge or node is None or node in taken:
                continue
            taken.add(node)
            waiting += [int(tensor) for tensor in own[node]["inputs"]]
    share = len(taken) / len(own) if own else 0.0
    return Coverage(delegate=delegate, share_of_operations=share, checked_by="run", partitions=len(parts))
