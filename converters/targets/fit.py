"""The fit: whether a model can run on a board at all, on which of its runtimes, and how well."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from converters.package import runtimes
from converters.scheme import Format, Scheme
from converters.targets.delegation import Delegation, delegation, format_of
from converters.targets.edgetpu_compiler import compiled, compiler
from converters.targets.graph import Graph, read_graph
from converters.targets.nnapi import with_checker
from edge_sdk.base.errors import ConversionError
from edge_sdk.boards.profile import Board


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """How a model fits a board.

    Attributes:
        board: The board's name.
        format: Of the model.
        precision: It is judged at.
        operators: Number of them.
        macs: Multiply-accumulates of one run.
        runtimes: Lowest version of each runtime that runs it.
        too_old: The board's runtimes that are older, in words.
        delegations: What each delegate takes.
        warnings: What is better known before deployment.
    """

    board: str
    format: Format
    precision: str
    operators: int
    macs: int
    runtimes: dict[str, str]
    too_old: tuple[str, ...]
    delegations: tuple[Delegation, ...]
    warnings: tuple[str, ...]

    @property
    def best(self) -> Delegation | None:
        """The delegation by the board's first delegate; None where it has none for this format."""
        return self.delegations[0] if self.delegations else None

    def require(self, share: float) -> None:
        """Refuse a model of which the board's first delegate takes less than `share` of the operations.

        Raises:
            ConversionError: It takes less; the message names the first operator that it leaves.
        """
        best = self.best
        if best is None or best.share_of_operations >= share:
            return
        first = next(verdict for verdict in best.verdicts if not verdict.is_delegated)
        raise ConversionError(
            f"{best.delegate} takes {best.share_of_operations:.0%} of the operations, wanted are {share:.0%}. The "
            f"first that it leaves is #{first.index} {first.operator} ({first.name}): {first.reason}."
            + (f" Cure: {first.advice}." if first.advice else "")
        )


def fit(model: bytes, board: Board, *, precision: str, keep: Callable[[bytes], None] = lambda _: None) -> Fit:
    """Judge a TFLite or ONNX model for a board.

    Args:
        model: The file's content.
        board: The profile.
        precision: What it is, or is to become; a float model with ``int8`` is judged as if quantized.
        keep: Given the file for the Edge TPU, where the board has one and its compiler is here and mapped anything.

    Raises:
        ConversionError: It is no model, or none of the board's runtimes reads its format.
    """
    graph = read_graph(model)
    model_format: Format = "tflite" if graph.format == "tflite" else "onnx"
    if model_format not in board.formats:
        raise ConversionError(f"{board.title} runs {', '.join(board.formats)}, not {model_format}.")
    if graph.is_compiled and "edgetpu" not in board.rules:
        raise ConversionError(
            f"The model is compiled for the Edge TPU, and {board.title} has none. Give the model that it was compiled "
            "from, or take a board with a Coral: coral-dev-board, raspberry-pi-5-coral-usb."
        )
    as_int8 = precision.startswith("int8") and not graph.is_quantized
    needed = {} if graph.is_compiled else runtimes(Scheme(model_format, precision), model)
    too_old = tuple(
        f"{runtime.name} {runtime.version} (it needs {needed[runtime.name]})"
        for runtime in board.runtimes
        if runtime.name in needed and older(runtime.version, needed[runtime.name])
    )
    rules = ("edgetpu",) if graph.is_compiled else board.rules
    found = tuple(
        _judge(model, graph, name, as_int8=as_int8, keep=keep) for name in rules if format_of(name) == model_format
    )
    return Fit(
        board=board.name,
        format=model_format,
        precision=precision,
        operators=len(graph.operators),
        macs=graph.macs,
        runtimes=needed,
        too_old=too_old,
        delegations=found,
        warnings=_warnings(board, precision, found, too_old),
    )


def _judge(model: bytes, graph: Graph, delegate: str, *, as_int8: bool, keep: Callable[[bytes], None]) -> Delegation:
    """By the compiler where it is here and can be asked; else by rules, and by ONNX Runtime's own checker."""
    if delegate == "edgetpu" and graph.is_quantized and not graph.is_compiled and (command := compiler()):
        made = compiled(model, graph, command)
        if made.model:
            keep(made.model)
        return made.delegation
    told = delegation(graph, delegate, as_int8=as_int8)
    return with_checker(model, told) if delegate == "nnapi" else told


def check_runtimes(board: Board, scheme: Scheme, needed: dict[str, str]) -> None:
    """Refuse a model that is newer than every runtime of the board that reads its format.

    Raises:
        ConversionError: None of them runs it; both versions are in the message.
    """
    reading = [runtime for runtime in board.runtimes if runtime.name in needed]
    if all(older(runtime.version, needed[runtime.name]) for runtime in reading):
        has = ", ".join(f"{runtime.name} {runtime.version}" for runtime in reading) or "no runtime that reads it"
        wants = ", ".join(f"{name} {version}" for name, version in needed.items())
        raise ConversionError(
            f"The {scheme.precision} {scheme.format} model needs {wants}; {board.title} has {has}. Update the runtime "
            "there, or take another --precision."
        )


def older(version: str, lowest: str) -> bool:
    """Whether a version is below another."""

    def numbers(text: str) -> tuple[int, ...]:
        return tuple(int(part) for part in text.split(".")[:3] if part.isdigit())

    return numbers(version) < numbers(lowest)


def _warnings(board: Board, precision: str, found: tuple[Delegation, ...], too_old: tuple[str, ...]) -> tuple[str, ...]:
    warnings = [f"Too old on the board: {runtime}." for runtime in too_old]
    if precision not in board.precisions:
        warnings.append(f"{board.title} runs {', '.join(board.precisions)} well; {precision} runs on its CPU.")
    first = found[0] if found else None
    on_cpu = not board.accelerators or first is None or first.share_of_macs < 0.5
    if precision == "int8" and on_cpu and not board.cpu_dot_product:
        warnings.append(
            f"{board.cpu} has no int8 dot products: int8 is smaller there, and may be no faster than float. Measure."
        )
    if first is not None and first.partitions > 3:
        warnings.append(f"{first.delegate} takes {first.partitions} separate parts: hand-overs may cost the gain.")
    return tuple(warnings)
