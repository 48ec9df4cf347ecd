"""A STUB of Google's edgetpu_compiler, for tests: it compiles nothing.

The real one is x86-64 only and on no package registry. This prints a log of the real one's form, for the model that it
is given: every operator is mapped but SOFTMAX. What it writes has the real one's form, too: one custom operator in
place of those before SOFTMAX, which no Edge TPU could run. It says in its version that it is a stub.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from converters.targets.graph import read_graph


def main(arguments: list[str]) -> int:
    folder, model = Path(arguments[arguments.index("-o") + 1]), Path(arguments[-1])
    graph = read_graph(model.read_bytes())
    print("Edge TPU Compiler version 16.0.384591198 (stub of the tests)\n")
    if not graph.is_quantized:
        print("Invalid model: the model is not quantized", file=sys.stderr)
        return 1
    counts = Counter(operator.kind for operator in graph.operators)
    on_cpu = counts["SOFTMAX"]
    (folder / f"{model.stem}_edgetpu.tflite").write_bytes(with_custom_operator(model.read_bytes()))
    print("Started a compilation timeout timer of 180 seconds.\n\nModel compiled successfully in 1 ms.\n")
    print("Off-chip memory used for streaming uncached model parameters: 41.75KiB")
    print("Number of Edge TPU subgraphs: 1")
    print(f"Total number of operations: {len(graph.operators)}")
    print(f"Number of operations that will run on Edge TPU: {len(graph.operators) - on_cpu}")
    print(f"Number of operations that will run on CPU: {on_cpu}\n")
    print("Operator                       Count      Status\n")
    for kind, count in counts.items():
        status = "Operation is working on an unsupported data type" if kind == "SOFTMAX" else "Mapped to Edge TPU"
        print(f"{kind:<30} {count:<10} {status}")
    return 0


def with_custom_operator(model: bytes) -> bytes:
    """The same inputs and outputs, and one custom operator for all that stands before SOFTMAX."""
    tree: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    [graph] = tree.subgraphs
    softmax = next(i for i, code in enumerate(tree.operatorCodes) if code.builtinCode == schema.BuiltinOperator.SOFTMAX)
    at = next(i for i, operator in enumerate(graph.operators) if operator.opcodeIndex == softmax)
    code = schema.OperatorCodeT()
    code.customCode, code.builtinCode = "edgetpu-custom-op", schema.BuiltinOperator.CUSTOM
    code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    tree.operatorCodes.append(code)
    taken = schema.OperatorT()
    taken.opcodeIndex = len(tree.operatorCodes) - 1
    taken.inputs, taken.outputs = list(graph.inputs), [graph.operators[at].inputs[0]]
    graph.operators = [taken, *graph.operators[at:]]
    builder = flatbuffers.Builder(1024)
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
