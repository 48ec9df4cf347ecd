"""Ports: how the one window that a station cuts becomes a model's inputs, and which of its outputs count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edge_sdk.base.errors import ConversionError, nearest


@dataclass(frozen=True, slots=True)
class Port:
    """One input of a model, as a part of the window.

    Attributes:
        name: Of the input.
        shape: Of the input, the batch of 1 included.
        begin: Its first channel in the window.
        end: Just past its last one.
        is_last: It takes the window's last sample alone: a value beside a series.
    """

    name: str
    shape: tuple[int, ...]
    begin: int
    end: int
    is_last: bool = False


def join_inputs(path: str, inputs: Sequence[tuple[str, tuple[int, ...]]]) -> tuple[tuple[int, ...], tuple[Port, ...]]:
    """Lay a model's inputs side by side, as channels of one window.

    Args:
        path: Of the model, for messages.
        inputs: Name and shape of each, in the model's order, the batch of 1 included.

    Returns:
        The window's shape as the model's one input, the batch of 1 included; and where each input lies in it.

    Raises:
        ConversionError: None, or of lengths that no one window has.
    """
    if not inputs:
        raise ConversionError(f"{path} has no input; a model wants the window.")
    if len(inputs) == 1:
        [(name, shape)] = inputs
        return shape, (Port(name, shape, 0, shape[-1] if len(shape) > 1 else 1),)
    spaces = {shape[1:-1] for _, shape in inputs if len(shape) > 2}
    series = {space for space in spaces if space != (1,)} or spaces or {()}
    if len(series) != 1 or any(len(shape) < 2 for _, shape in inputs):
        shown = ", ".join(f"{name} {shape}" for name, shape in inputs)
        raise ConversionError(
            f"{path} has the inputs {shown}: of different lengths, and a station cuts one window for a model. Give "
            "inputs of one length (a value beside a series may have length 1), or make two models and fuse them."
        )
    [space] = series
    ports, begin = [], 0
    for name, shape in inputs:
        is_last = shape[1:-1] != space
        if is_last and len(space) > 1:
            raise ConversionError(
                f"{path}: input {name!r} {shape} stands beside an image; a station's sensor gives the one or the "
                "other. Make two models and fuse them."
            )
        ports.append(Port(name, shape, begin, begin + shape[-1], is_last))
        begin += shape[-1]
    return (1, *space, begin), tuple(ports)


def told(ports: Sequence[Port]) -> list[str]:
    """What to tell of joined inputs: nothing where there is one."""
    if len(ports) < 2:
        return []
    parts = ", ".join(
        f"{port.name!r} takes channels {port.begin} to {port.end - 1}{' of the last sample' if port.is_last else ''}"
        for port in ports
    )
    return [f"The model's {len(ports)} inputs became one window: {parts}."]


def choose_outputs(
    path: str, outputs: Sequence[str], answer: str, features: str, *, inner: Iterable[str] = ()
) -> tuple[str, str]:
    """Which output answers, and which one is handed on as features.

    Args:
        path: Of the model, for messages.
        outputs: Names of its outputs, in its order.
        answer: The one wanted; empty = the first that is not `features`.
        features: The one wanted, or a layer; empty = of two outputs the other one, else none.
        inner: Names of layers that can be tapped for features.

    Returns:
        Both names; that of the features may be empty.

    Raises:
        ConversionError: A name is not there, or there are more than two outputs and none was named.
    """
    if answer and answer not in outputs:
        raise ConversionError(f"{path} has no output {answer!r} to answer. {nearest(answer, outputs)}")
    known = {*outputs, *inner}
    if features and (features not in known or features == answer):
        raise ConversionError(f"{path} has no output or layer {features!r} for features. {nearest(features, known)}")
    if not answer:
        if len(outputs) > 2:
            raise ConversionError(
                f"{path} has {len(outputs)} outputs ({', '.join(outputs)}). Say in the recipe which one answers: "
                f"`answer: {outputs[0]}`, and which one is handed on to fusion, if any: `features: {outputs[1]}`."
            )
        answer = next(name for name in outputs if name != features)
    if not features and len(outputs) == 2:
        features = next(name for name in outputs if name != answer)
    return answer, features
