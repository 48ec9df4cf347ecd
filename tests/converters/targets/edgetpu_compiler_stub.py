"""A STUB of Google's edgetpu_compiler, for tests: it compiles nothing.

The real one is x86-64 only and on no package registry. This prints a log of the real one's form, for the model that it
is given: every operator is mapped but SOFTMAX. It says in its version that it is a stub.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

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
    (folder / f"{model.stem}_edgetpu.tflite").write_bytes(model.read_bytes())
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
