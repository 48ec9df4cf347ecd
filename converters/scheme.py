"""A scheme: one format at one precision, under a name that says what it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from edge_sdk.base.errors import ConversionError, nearest

Format = Literal["tflite", "onnx"]
FORMATS: tuple[Format, ...] = ("tflite", "onnx")
PRECISIONS: dict[Format, tuple[str, ...]] = {
    "tflite": ("float32", "float16", "dynamic", "int4", "int8", "int8-float-io", "int16x8", "mixed"),
    "onnx": ("float32", "float16", "dynamic", "int4", "int8", "int8-entropy", "int8-percentile", "mixed"),
}
CALIBRATED = {"int8", "int8-entropy", "int8-float-io", "int8-percentile", "int16x8", "mixed"}
WORDS = {
    "float32": "as trained",
    "float16": "weights of 16 bit",
    "dynamic": "int8 weights; activations quantized at run time",
    "int4": "int4 weights; activations stay float",
    "int8": "int8 weights per channel, int8 activations, input and output; ranges by the extremes",
    "int8-entropy": "int8; ranges that lose the least information (Kullback-Leibler)",
    "int8-percentile": "int8; ranges that leave the outermost 0.01 % out",
    "int8-float-io": "int8 inside, float input and output",
    "int16x8": "int8 weights, int16 activations",
    "mixed": "int8, and the layers that lose most in float",
}


class Scheme(msgspec.Struct, frozen=True, order=True):
    """One format at one precision.

    Attributes:
        format: ``tflite`` or ``onnx``.
        precision: A name of `WORDS`, which say what it is: weights, ``x`` activations where they differ, then what
            else is special.
    """

    format: Format
    precision: str

    def __str__(self) -> str:
        return f"{self.precision} {self.format}"

    @property
    def file(self) -> str:
        """Its member in the bundle."""
        return f"{self.precision}.{self.format}"

    @property
    def needs_calibration(self) -> bool:
        """Whether it needs data to learn the range of activations from."""
        return self.precision in CALIBRATED


def every_scheme(formats: Sequence[str]) -> tuple[Scheme, ...]:
    """What ``--precision auto`` tries, from the smallest to the largest, in each format."""
    order = ("int8", "int8-percentile", "mixed", "int16x8", "dynamic", "float16", "float32")
    return tuple(
        Scheme(name, precision)
        for precision in order
        for name in FORMATS
        if name in formats and precision in PRECISIONS[name]
    )


def schemes(formats: Sequence[str], precisions: Sequence[str]) -> tuple[Scheme, ...]:
    """Every wanted precision in every wanted format that has it, in the order given.

    Raises:
        ConversionError: An unknown format or precision; the message offers the nearest.
    """
    found: list[Scheme] = []
    for name in formats:
        if name not in FORMATS:
            raise ConversionError(f"{name!r} is no format. {nearest(name, FORMATS)}")
    for precision in precisions:
        known = [Scheme(name, precision) for name in FORMATS if precision in PRECISIONS[name]]
        if not known:
            every = {known_name for names in PRECISIONS.values() for known_name in names}
            raise ConversionError(f"{precision!r} is no precision. {nearest(precision, every)}")
        wanted = [scheme for scheme in known if scheme.format in formats and scheme not in found]
        if not wanted and not any(scheme in found for scheme in known):
            raise ConversionError(f"There is no {precision} {'/'.join(formats)}; it exists as {known[0].format}.")
        found += wanted
    return tuple(found)
