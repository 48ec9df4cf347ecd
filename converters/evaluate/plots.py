"""Plots for the report: small SVG drawings, light and dark by the page's own colours."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple

from converters.evaluate.histogram import Histogram

_ROW = 18
_GOOD_DB = 60.0


class Point(NamedTuple):
    """A variant in a plot of quality over cost.

    Attributes:
        name: Written beside it.
        x: Cost, such as milliseconds.
        y: Quality.
        low: Lower end of its interval.
        high: Upper end.
        is_chosen: Drawn full; the others hollow.
    """

    name: str
    x: float
    y: float
    low: float
    high: float
    is_chosen: bool = True


def bars(values: Sequence[tuple[str, float]], *, bad_below: float) -> str:
    """Horizontal bars of decibels, 0 to 60, what is below the limit in the colour of errors."""
    left, width = 190, 520
    drawn = [
        f"<line x1='{left + db / _GOOD_DB * width}' y1='0' x2='{left + db / _GOOD_DB * width}' "
        f"y2='{len(values) * _ROW}' class='grid'/>"
        for db in (bad_below, 20, 40, 60)
    ]
    for row, (name, value) in enumerate(values):
        length = max(1.0, min(max(value, 0.0), _GOOD_DB) / _GOOD_DB * width)
        y = row * _ROW
        drawn.append(
            f"<text x='{left - 6}' y='{y + 13}' text-anchor='end'>{_t(name[:28])}</text>"
            f"<rect x='{left}' y='{y + 3}' width='{length:.1f}' height='{_ROW - 6}' "
            f"class='{'badbar' if value < bad_below else 'bar'}'/>"
            f"<text x='{left + length + 5:.1f}' y='{y + 13}'>{value:.1f}</text>"
        )
    return _svg(left + width + 60, len(values) * _ROW + 4, "Error by layer", drawn)


def pareto(points: Sequence[Point], *, cost: str, quality: str, lower_is_better: bool) -> str:
    """Cost across, quality upwards; a line joins what nothing else beats in both."""
    width, height, edge = 720, 300, 54
    top_x = max(point.x for point in points) * 1.15 or 1.0
    ends = [end for point in points for end in (point.low, point.high, point.y)]
    low_y, high_y = min(ends), max(ends)
    high_y = high_y if high_y > low_y else low_y + 0.01

    def at(x: float, y: float) -> tuple[float, float]:
        across = edge + x / top_x * (width - 2 * edge)
        return across, height - edge - (y - low_y) / (high_y - low_y) * (height - 2 * edge)

    drawn = [f"<line x1='{edge}' y1='{height - edge}' x2='{width - edge}' y2='{height - edge}' class='axis'/>"]
    for share in (0.0, 0.5, 1.0):
        y = low_y + share * (high_y - low_y)
        _, down = at(0, y)
        drawn.append(f"<line x1='{edge}' y1='{down:.1f}' x2='{width - edge}' y2='{down:.1f}' class='grid'/>")
        drawn.append(f"<text x='{edge - 6}' y='{down + 4:.1f}' text-anchor='end'>{y:.4g}</text>")
        across, _ = at(share * top_x, low_y)
        drawn.append(f"<text x='{across:.1f}' y='{height - edge + 16}' text-anchor='middle'>{share * top_x:.3g}</text>")
    drawn.append(f"<text x='{width - edge}' y='{height - 14}' text-anchor='end'>{_t(cost)}</text>")
    drawn.append(f"<text x='{edge}' y='{edge - 22}'>{_t(quality)}</text>")
    front = _front(points, lower_is_better=lower_is_better)
    line = " ".join("{:.1f},{:.1f}".format(*at(point.x, point.y)) for point in front)
    drawn.append(f"<polyline points='{line}' class='front'/>")
    taken: list[tuple[float, float]] = []
    names, dots = [], []
    for point in sorted(points, key=lambda each: (each.is_chosen, each.x)):  # the chosen ones above the others
        x, y = at(point.x, point.y)
        _, up = at(point.x, point.high)
        _, down = at(point.x, point.low)
        row = y - 8
        while any(abs(row - other) < 13 and abs(x - across) < 120 for across, other in taken):
            row += 13
        taken.append((x, row))
        drawn.append(f"<line x1='{x:.1f}' y1='{up:.1f}' x2='{x:.1f}' y2='{down:.1f}' class='whisker'/>")
        dots.append(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='4.5' class='{'dot' if point.is_chosen else 'hollow'}'/>")
        names.append(f"<text x='{x + 8:.1f}' y='{row:.1f}'>{_t(point.name)}</text>")
    drawn += [*names, *dots]  # a name lies over all lines, and over no point
    return _svg(width, height, f"{quality} over {cost}", drawn)


def histogram(one: Histogram) -> str:
    """One channel's values; the range that the recipe allows is told below."""
    width, height = 220, 96
    highest = max(one.counts) or 1
    step = width / len(one.counts)
    drawn = [f"<text x='0' y='12'>{_t(one.channel)} {_t(one.unit)}</text>"]
    for index, count in enumerate(one.counts):
        tall = count / highest * (height - 40)
        drawn.append(
            f"<rect x='{index * step:.1f}' y='{height - 22 - tall:.1f}' width='{step - 1:.1f}' "
            f"height='{tall:.1f}' class='bar'/>"
        )
    drawn.append(f"<line x1='0' y1='{height - 22}' x2='{width}' y2='{height - 22}' class='axis'/>")
    drawn.append(f"<text x='0' y='{height - 8}'>{one.low:.4g}</text>")
    drawn.append(f"<text x='{width}' y='{height - 8}' text-anchor='end'>{one.high:.4g}</text>")
    return _svg(width, height, f"Values of {one.channel}", drawn, small=True)


def _front(points: Sequence[Point], *, lower_is_better: bool) -> list[Point]:
    """What nothing else beats in both, from the cheapest."""
    sign = -1.0 if lower_is_better else 1.0
    found: list[Point] = []
    for point in sorted(points, key=lambda each: (each.x, -sign * each.y)):
        if not found or sign * point.y > sign * found[-1].y:
            found.append(point)
    return found


def _svg(width: float, height: float, title: str, drawn: Sequence[str], *, small: bool = False) -> str:
    size = " class='small'" if small else ""
    drawing = (
        f"<svg viewBox='0 0 {width:.0f} {height:.0f}' role='img' aria-label='{_t(title)}'{size}>{''.join(drawn)}</svg>"
    )
    return drawing if small else f"<div class='wide'>{drawing}</div>"


def _t(text: str) -> str:
    return html.escape(text, quote=True)
