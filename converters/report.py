"""The report: what a person sees after a conversion, and what ``--json`` holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from converters.evaluate.proof import Proven
from converters.package import Seal
from edge_sdk.boards.profile import Board
from edge_sdk.contract.manifest import Coverage

LOWER_IS_BETTER = frozenset({"mae", "mae_to_float"})


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """A runtime, and how a variant answers on it.

    Attributes:
        lowest: The lowest version that runs the variant.
        version: The version that it was run on here; empty = it was not.
        quantized: The metric there, on all evaluation data; None = it was not run.
        interval: 95 % interval of `quantized`.
        worst: Largest difference of any output from the float source's; None = it was not run.
        why: Why it was not run.
    """

    lowest: str
    version: str = ""
    quantized: float | None = None
    interval: tuple[float, float] | None = None
    worst: float | None = None
    why: str = ""


class VariantReport(msgspec.Struct, frozen=True, kw_only=True):
    """One variant, measured.

    Latency stands here and not in the bundle: it differs from run to run, and the bundle's digest must not.

    Attributes:
        name: The bundle's name.
        precision: The scheme's name.
        format: ``tflite`` or ``onnx``.
        bytes: Size of the model.
        metric: ``accuracy``, ``mae``; ``agreement`` and ``mae_to_float`` where no truth was given.
        float_value: (``float`` in JSON) The metric of the float source.
        quantized: The metric of this variant, on the same data.
        interval: 95 % interval of `quantized`.
        n: Number of evaluation windows.
        worst: Largest difference of any output from the float source's.
        latency_ms: p50 of one call on this machine, one thread.
        float_latency_ms: The same of float32 in the same format, measured in turn with it.
        coverage: What each delegate takes.
        runtimes: Each runtime that can run it, and how it answers there.
        proved_on: The runtime that it was proved on.
        features_error: Root mean square difference of the features from the float source's, as a share of their own
            spread; None where the model hands on none.
        is_in_bundle: Whether the bundle holds it; ``--precision auto`` measures more than it keeps.
        why: Why it was chosen or left out by ``--precision auto``; empty without it.
    """

    name: str
    precision: str
    format: Literal["tflite", "onnx"]
    bytes: int
    metric: str
    float_value: float = msgspec.field(name="float")
    quantized: float
    interval: tuple[float, float]
    n: int
    worst: float
    latency_ms: float
    float_latency_ms: float
    coverage: tuple[Coverage, ...]
    runtimes: dict[str, Parity]
    proved_on: str
    features_error: float | None = None
    is_in_bundle: bool = True
    why: str = ""

    @property
    def is_slower(self) -> bool:
        """Whether it is slower than float here, beyond what timing noise explains."""
        return self.precision != "float32" and self.latency_ms > 1.05 * self.float_latency_ms


def row(name: str, seal: Seal, proven: Proven) -> VariantReport:
    """The report of one variant of a bundle."""
    metric = proven.metric
    return VariantReport(
        name=name,
        precision=seal.scheme.precision,
        format=seal.scheme.format,
        bytes=seal.n_bytes,
        metric=metric.name,
        float_value=metric.float_value,
        quantized=metric.value,
        interval=(metric.low, metric.high),
        n=metric.n,
        worst=proven.worst,
        latency_ms=proven.latency_ms,
        float_latency_ms=proven.float_latency_ms,
        coverage=seal.delegates,
        runtimes=_parities(seal, proven),
        proved_on=proven.runtime,
        features_error=proven.features_error,
    )


def _parities(seal: Seal, proven: Proven) -> dict[str, Parity]:
    """How a variant answers on each runtime that can run it."""
    name, version = proven.runtime.split()
    seen = {name: (version, proven.metric, proven.worst)}
    seen |= {there.runtime: (there.version, there.metric, there.worst) for there in proven.elsewhere}
    found = {}
    for runtime, lowest in seal.runtimes.items():
        if runtime not in seen:
            found[runtime] = Parity(lowest=lowest, why=f"no --python {runtime}=PATH was given, and it is not run here")
            continue
        version, metric, worst = seen[runtime]
        found[runtime] = Parity(
            lowest=lowest, version=version, quantized=metric.value, interval=(metric.low, metric.high), worst=worst
        )
    return found


def unproved(board: Board | None, rows: Sequence[VariantReport]) -> list[str]:
    """Runtimes of the board on which nothing was run, where it has no other for the format."""
    notes = []
    if board is None:
        return []
    for each in rows:
        theirs = [runtime for runtime in board.runtimes if runtime.name in each.runtimes]
        if theirs and not any(each.runtimes[runtime.name].version for runtime in theirs):
            first = theirs[0]
            notes.append(
                f"{each.precision} {each.format} was not run on {first.name} {first.version}, which {board.title} has: "
                f"it is not installed here. Give --python {first.name}=PATH, the Python of an environment that has it. "
                "The station compares with the recorded answers when it opens the model."
            )
    return notes
