"""Shapes: which dimensions of a model are open, and what the user fixed them to."""

from __future__ import annotations

from collections.abc import Mapping

from edge_sdk.base.errors import ConversionError


def fix_shape(
    path: str, name: str, given: tuple[int | None, ...], shapes: Mapping[str, tuple[int, ...]], *, n_inputs: int = 1
) -> tuple[int, ...]:
    """The batch becomes 1; other open dimensions are the user's to fix.

    Args:
        path: Of the model, for messages.
        name: Of the input.
        given: Its shape; None = open.
        shapes: What the user fixed, by input name.
        n_inputs: Of a model with one input the user's one shape is meant, whatever name it was given.

    Raises:
        ConversionError: A dimension is open, or the user's shape contradicts the model.
    """
    wanted = shapes.get(name) or (next(iter(shapes.values())) if len(shapes) == n_inputs == 1 else None)
    if wanted is not None:
        fits = len(wanted) == len(given) and all(g in {None, w} for g, w in zip(given, wanted, strict=True))
        if not fits:
            raise ConversionError(f"{path}: input {name!r} is {given}; --input says {wanted}. They contradict.")
        return wanted
    fixed = (1, *given[1:])
    if any(n is None for n in fixed):
        raise ConversionError(
            f"{path}: input {name!r} is {given}, with open dimensions. Fix them: --input {name}=1,128,6 (for example)."
        )
    return tuple(int(n) for n in fixed if n is not None)


def first_line(error: Exception) -> str:
    """The first line of a foreign error's message, cut to a length that people read."""
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
