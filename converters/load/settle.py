"""Settling: what tf2onnx writes gets the same names and the same order each time."""

from __future__ import annotations

import re
from typing import Any

_PREFIX = "StatefulPartitionedCall/"
_NUMBER = re.compile(r"__(\d+)")


def settle(model: Any) -> None:
    """Sort and rename, in place.

    tf2onnx numbers what it adds in an order that differs from run to run, and a bundle's digest would with it. Nodes
    are sorted as the answer needs them; numbers are given again in that order. Prefixes that tracing adds go: they say
    nothing, and weigh more than small weights. What nothing needs goes, too.

    Args:
        model: An ``onnx.ModelProto`` that tf2onnx wrote; inputs and outputs keep their names.
    """
    graph = model.graph
    if any(attribute.HasField("g") for node in graph.node for attribute in node.attribute):
        return  # a loop's body reads names from outside
    ordered = _as_needed(graph)
    fixed = {value.name for value in (*graph.input, *graph.output)}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    renamed = _Renamed(fixed, set(weights))
    for node in ordered:
        for values in (node.input, node.output):
            values[:] = [renamed.of(name) for name in values]
        node.name = renamed.of(node.name)
    used = [name for name in renamed.given if name in weights]
    for name in used:
        weights[name].name = renamed.given[name]
    infos = [info for info in graph.value_info if info.name in renamed.given]
    for info in infos:
        info.name = renamed.given[info.name]
    infos.sort(key=lambda info: str(info.name))
    for field, kept in (("node", ordered), ("initializer", [weights[name] for name in used]), ("value_info", infos)):
        copies = [type(each).FromString(each.SerializeToString()) for each in kept]
        model.graph.ClearField(field)
        getattr(model.graph, field).extend(copies)


class _Renamed:
    """New names, given in the order of asking; one for each old one."""

    def __init__(self, fixed: set[str], constants: set[str]) -> None:
        self.given: dict[str, str] = {}
        self._fixed, self._constants = fixed, constants
        self._numbers: dict[str, int] = {}
        self._taken = set(fixed)

    def of(self, name: str) -> str:
        if not name or name in self._fixed:
            return name
        if name not in self.given:
            base = name.replace(_PREFIX, "")
            if name in self._constants and _NUMBER.search(base):
                base = f"const_{len(self.given)}"  # of equal constants any may have been kept, under its own name
            base = _NUMBER.sub(lambda found: f"__{self._number(found.group(1))}", base)
            while base in self._taken:
                base += "_"
            self._taken.add(base)
            self.given[name] = base
        return self.given[name]

    def _number(self, old: str) -> int:
        return self._numbers.setdefault(old, len(self._numbers) + 1)


def _as_needed(graph: Any) -> list[Any]:
    """Every node that an output needs, after the nodes that it needs itself; inputs in their order."""
    makers = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    ordered: list[Any] = []
    done: set[int] = set()
    for output in graph.output:
        waiting = [makers[output.name]] if output.name in makers else []
        while waiting:
            node = graph.node[waiting[-1]]
            missing = [makers[name] for name in node.input if name in makers and makers[name] not in done]
            if missing:
                waiting += reversed(missing)
                continue
            index = waiting.pop()
            if index not in done:
                done.add(index)
                ordered.append(node)
    return ordered
