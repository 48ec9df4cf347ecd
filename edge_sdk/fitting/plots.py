"""Plots as SVG text: curves, a reliability diagram, a scatter, stacked areas."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

COLOURS = ("#2f7ed8", "#e08a00", "#12a150", "#d64545", "#8e5bd6", "#0f9f9a", "#d6559c", "#7a8b00")
"""Of contributors, in order; readable on white and on black."""

_WIDTH, _HEIGHT = 480, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 12, 44


@dataclass(frozen=True, slots=True)
class Curve:
    """One curve.

    Attributes:
        name: For the legend.
        points: ``(x, y)`` in order of x.
        dashed: Whether it is something to compare with.
    """

    name: str
    points: tuple[tuple[float, float], ...]
    dashed: bool = False


def curves(
    given: Sequence[Curve],
    *,
    x: str,
    y: str,
    low: float | None = None,
    high: float | None = None,
    whole_numbers: bool = False,
) -> str:
    """Curves with axes and a legend below.

    Args:
        given: The curves.
        x: What the horizontal axis is.
        y: What the vertical axis is.
        low: Where the vertical axis begins; None = a little below the lowest point.
        high: Where it ends; None = a little above the highest.
        whole_numbers: Whether x counts something.
    """
    xs = [at for curve in given for at, _ in curve.points]
    ys = [value for curve in given for _, value in curve.points]
    pad = max(0.1 * (max(ys) - min(ys)), 0.01 * max(map(abs, ys)), 1e-6)
    axes = _Axes(min(xs), max(xs), min(ys) - pad if low is None else low, max(ys) + pad if high is None else high)
    ticks = list(range(math.ceil(min(xs)), math.floor(max(xs)) + 1)) if whole_numbers else axes.ticks(axes.x0, axes.x1)
    drawn = [axes.frame(ticks, x=x, y=y)]
    legend = []
    for index, curve in enumerate(given):
        colour = COLOURS[index % len(COLOURS)]
        path = "L".join(f"{axes.x(at):.1f} {axes.y(value):.1f}" for at, value in curve.points)
        dash = ' stroke-dasharray="5 4"' if curve.dashed else ""
        drawn.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        if not curve.dashed:
            drawn += [
                f'<circle cx="{axes.x(at):.1f}" cy="{axes.y(value):.1f}" r="3" fill="{colour}"/>'
                for at, value in curve.points
            ]
        top = _HEIGHT + 14 + 17 * index
        legend.append(
            f'<path d="M{_LEFT} {top - 4}h22" stroke="{colour}" stroke-width="2"{dash}/>'
            f'<text x="{_LEFT + 30}" y="{top}">{html.escape(curve.name)}</text>'
        )
    return _svg(_WIDTH, _HEIGHT + 6 + 17 * len(given), f"{y} against {x}", [*drawn, *legend])


def reliability(confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 10) -> str:
    """Accuracy against confidence, one dot for each bin, its area by how many moments it holds."""
    axes = _Axes(0.0, 1.0, 0.0, 1.0)
    ticks = [0.0, 0.25, 0.5, 0.75, 1.0]
    drawn = [axes.frame(ticks, x="confidence", y="accuracy"), axes.diagonal()]
    place = np.minimum((confidence * bins).astype(np.intp), bins - 1)
    for index in np.unique(place):
        rows = place == index
        size = 3 + 11 * float(rows.mean()) ** 0.5
        drawn.append(
            f'<circle cx="{axes.x(float(confidence[rows].mean())):.1f}" cy="{axes.y(float(right[rows].mean())):.1f}" '
            f'r="{size:.1f}" fill="{COLOURS[0]}" fill-opacity=".75"/>'
        )
    return _svg(_WIDTH, _HEIGHT, "accuracy against confidence", drawn)


def scatter(points: Sequence[tuple[float, float]], *, x: str, y: str, most: int = 800) -> str:
    """Dots around the line on which both are the same."""
    some = [points[index] for index in np.linspace(0, len(points) - 1, min(most, len(points))).astype(int)]
    low, high = min(min(pair) for pair in some), max(max(pair) for pair in some)
    axes = _Axes(low, high if high > low else low + 1, low, high if high > low else low + 1)
    dots = [
        f'<circle cx="{axes.x(at):.1f}" cy="{axes.y(value):.1f}" r="2" fill="{COLOURS[0]}" fill-opacity=".45"/>'
        for at, value in some
    ]
    frame = axes.frame(axes.ticks(axes.x0, axes.x1), x=x, y=y)
    return _svg(_WIDTH, _HEIGHT, f"{y} against {x}", [frame, *dots, axes.diagonal()])


def areas(shares: Mapping[str, Sequence[float]], colours: Sequence[str]) -> str:
    """Shares of a whole, one on top of the other, from left to right."""
    n = len(next(iter(shares.values())))
    wide, high = 960, 170
    floor = np.zeros(n)
    drawn, legend, left = [], [], 8
    for index, (name, given) in enumerate(shares.items()):
        colour = colours[index % len(colours)]
        top = floor + np.array(given)
        step = wide / n
        up = [f"{place * step:.1f} {high * (1 - top[place]):.1f}H{(place + 1) * step:.1f}" for place in range(n)]
        down = [
            f"{(place + 1) * step:.1f} {high * (1 - floor[place]):.1f}H{place * step:.1f}" for place in range(n)[::-1]
        ]
        drawn.append(f'<path d="M{"L".join(up)}L{"L".join(down)}Z" fill="{colour}"/>')
        legend.append(
            f'<rect x="{left}" y="{high + 10}" width="12" height="12" fill="{colour}"/>'
            f'<text x="{left + 18}" y="{high + 20}">{html.escape(name)}</text>'
        )
        left += 40 + 7 * len(name)
        floor = top
    return _svg(wide, high + 28, "weight of each contributor over time", [*drawn, *legend])


@dataclass(frozen=True, slots=True)
class _Axes:
    """From values to places in the drawing."""

    x0: float
    x1: float
    y0: float
    y1: float

    def x(self, at: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (at - self.x0) / ((self.x1 - self.x0) or 1.0)

    def y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (value - self.y0) / ((self.y1 - self.y0) or 1.0)

    def diagonal(self) -> str:
        """Where both are the same."""
        ends = f"M{self.x(self.x0):.1f} {self.y(self.y0):.1f}L{self.x(self.x1):.1f} {self.y(self.y1):.1f}"
        return f'<path class="axis" stroke-dasharray="4 4" d="{ends}"/>'

    @staticmethod
    def ticks(low: float, high: float) -> list[float]:
        """Some four round numbers between two."""
        rough = (high - low) / 4 or 1.0
        power = 10.0 ** math.floor(math.log10(rough))
        step = min((one * power for one in (1, 2, 5, 10)), key=lambda one: abs(one - rough))
        first = math.ceil(low / step - 1e-9)
        return [round(index * step, 10) for index in range(first, math.floor(high / step + 1e-9) + 1)]

    def frame(self, x_ticks: Sequence[float], *, x: str, y: str) -> str:
        """Axes, grid, figures and names."""
        parts = []
        for value in self.ticks(self.y0, self.y1):
            at = self.y(value)
            parts.append(
                f'<path class="grid" d="M{_LEFT} {at:.1f}H{_WIDTH - _RIGHT}"/>'
                f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{value:g}</text>'
            )
        parts += [
            f'<text x="{self.x(value):.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{value:g}</text>'
            for value in x_ticks
        ]
        parts.append(f'<path class="axis" d="M{_LEFT} {_TOP}V{_HEIGHT - _BOTTOM}H{_WIDTH - _RIGHT}"/>')
        middle = (_LEFT + _WIDTH - _RIGHT) / 2
        parts.append(f'<text x="{middle}" y="{_HEIGHT - _BOTTOM + 34}" text-anchor="middle">{html.escape(x)}</text>')
        up = (_TOP + _HEIGHT - _BOTTOM) / 2
        parts.append(f'<text transform="translate(12 {up})rotate(-90)" text-anchor="middle">{html.escape(y)}</text>')
        return "".join(parts)


def _svg(width: int, height: int, name: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" aria-label="{html.escape(name)}">'
        f"{''.join(parts)}</svg>"
    )
