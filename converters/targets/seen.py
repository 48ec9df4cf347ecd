"""What XNNPACK really took: read back from the interpreter after it was opened, operator by operator."""

from __future__ import annotations

from typing import Any

from converters.targets.delegation import Delegation, Verdict, summary
from converters.targets.graph import read_graph


def seen_on_xnnpack(model: bytes) -> Delegation:
    """Open a TFLite model in LiteRT and see which operators XNNPACK took on this machine.

    A delegate's node stands for what lies between its inputs and its outputs.
    """
    from ai_edge_litert.interpreter import Interpreter

    interpreter: Any = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    details = interpreter._get_ops_details()
    operators = [detail for detail in details if detail["op_name"] != "DELEGATE"]
    maker = {int(out): index for index, detail in enumerate(operators) for out in detail["outputs"]}
    taken: set[int] = set()
    for node in (detail for detail in details if detail["op_name"] == "DELEGATE"):
        border = {int(i) for i in node["inputs"]}
        waiting = [int(out) for out in node["outputs"]]
        while waiting:
            tensor = waiting.pop()
            if tensor in border or tensor not in maker or maker[tensor] in taken:
                continue
            taken.add(maker[tensor])
            waiting += [int(i) for i in operators[maker[tensor]]["inputs"] if i >= 0]
    verdicts = [
        Verdict(
            index=operator.index,
            operator=operator.kind,
            name=operator.name,
            macs=operator.macs,
            is_delegated=operator.index in taken,
            reason="" if operator.index in taken else "left to the built-in kernel",
        )
        for operator in read_graph(model).operators
    ]
    return summary("xnnpack", "run", verdicts)
