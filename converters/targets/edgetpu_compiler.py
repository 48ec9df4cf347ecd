"""The Edge TPU compiler, where it is installed: what it maps, asked of itself."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import deque
from pathlib import Path
from typing import NamedTuple

from converters.program import ask, last_words
from converters.targets.delegation import Delegation, Verdict, summary
from converters.targets.graph import Graph
from edge_sdk.base.errors import ConversionError

COMMAND = "edgetpu_compiler"
MAPPED = "Mapped to Edge TPU"
_CUSTOM_OP = b"edgetpu-custom-op"
_TIMEOUT_S = 240
_ROW = re.compile(r"^(\S+)\s+(\d+)\s+(\S.*?)\s*$")
_SUBGRAPHS = re.compile(r"^Number of Edge TPU subgraphs: (\d+)", re.MULTILINE)
_VERSION = re.compile(r"^Edge TPU Compiler version (.+)$", re.MULTILINE)
_MEMORY = re.compile(r"^Off-chip memory used for streaming uncached model parameters: (.+)$", re.MULTILINE)


def compiler() -> str | None:
    """Path of ``edgetpu_compiler``; None where it is not on PATH. It exists for x86-64 Linux alone."""
    return shutil.which(COMMAND)


class Compiled(NamedTuple):
    """What the compiler made of a model.

    Attributes:
        delegation: What was mapped.
        model: The file for the Edge TPU; empty where nothing was mapped, and it is as it was.
    """

    delegation: Delegation
    model: bytes


def compiled(model: bytes, graph: Graph, command: str) -> Compiled:
    """Compile a model and tell what was mapped.

    Args:
        model: An int8 TFLite file.
        graph: The same, read.
        command: Path of the compiler.

    Raises:
        ConversionError: It does not end, or refuses the model; its own words are in the message.
    """
    with tempfile.TemporaryDirectory(prefix="edge-sdk-edgetpu-") as name:
        (Path(name) / "model.tflite").write_bytes(model)
        done = ask([command, "-s", "-o", name, f"{name}/model.tflite"], timeout_s=_TIMEOUT_S)
        made = Path(name) / "model_edgetpu.tflite"
        content = made.read_bytes() if made.is_file() else b""
    if done.returncode or not _VERSION.search(done.stdout):
        raise ConversionError(
            f"{COMMAND} ends with {done.returncode} and refuses the model: {last_words(done, lines=2)}"
        )
    return Compiled(read_log(done.stdout, graph), content if _CUSTOM_OP in content else b"")


def read_log(log: str, graph: Graph) -> Delegation:
    """What the compiler's log says of each operator.

    The log counts by kind and status and does not say which of a kind; what is mapped comes before what is not, as
    the compiler maps from the beginning.

    Args:
        log: Its standard output, made with ``-s``.
        graph: The model that it was given.
    """
    statuses: dict[str, deque[str]] = {}
    rows = [(row.group(1), int(row.group(2)), row.group(3)) for line in log.splitlines() if (row := _ROW.match(line))]
    for kind, count, status in sorted(rows, key=lambda row: row[2] != MAPPED):
        statuses.setdefault(kind, deque()).extend([status] * count)
    verdicts = []
    for operator in graph.operators:
        known = statuses.get(operator.kind)
        status = known.popleft() if known else "the compiler's log does not name it"
        verdicts.append(
            Verdict(
                index=operator.index,
                operator=operator.kind,
                name=operator.name,
                macs=operator.macs,
                is_delegated=status == MAPPED,
                reason="" if status == MAPPED else f"the compiler says: {status}",
            )
        )
    version = _VERSION.search(log)
    notes = [f"Compiled by Edge TPU Compiler {version.group(1).strip() if version else '?'}."]
    streamed = _MEMORY.search(log)
    if streamed and not streamed.group(1).startswith("0.00"):
        notes.append(f"{streamed.group(1)} of weights do not fit on the chip and are streamed at each run.")
    found = summary("edgetpu", "compiler", verdicts, notes=tuple(notes))
    subgraphs = _SUBGRAPHS.search(log)
    return found if subgraphs is None else found.in_parts(int(subgraphs.group(1)))
