"""The page that ``fuse evaluate --html`` writes: tables and plots, one file, no script, no network."""

from __future__ import annotations

import html
import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_sdk.fitting.evaluate import Line, columns
from edge_sdk.fitting.record import Record
from edge_sdk.fitting.score import run
from edge_sdk.fusion.file import FusionSpec

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
table{border-collapse:collapse;width:100%}td,th{padding:.25rem .6rem;text-align:right;border-bottom:1px solid #d8dee4}
td:first-child,th:first-child{text-align:left}svg{max-width:100%;height:auto}text{font:12px system-ui,sans-serif}
@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}td,th{border-color:#30363d}text{fill:#e6edf3}}
"""


def page(title: str, spec: FusionSpec, record: Record, lines: Sequence[Line]) -> str:
    """A whole HTML document."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style>",
        f"<h1>{html.escape(title)}</h1>",
        f"<p>{html.escape(spec.method)} of {', '.join(map(html.escape, record.models))}; {len(record)} moments.</p>",
        _table(lines, record.task),
        "<h2>Robustness</h2>",
        _bars(lines, "accuracy" if record.task == "classification" else "mae"),
    ]
    answers = run(spec.open(), record)
    if record.task == "classification":
        truth = np.asarray(record.truth, dtype=np.int64)
        said = np.array([_uniform(record) if one is None else one.probabilities for one in answers], dtype=np.float64)
        parts += [
            "<h2>Reliability</h2>",
            _reliability(said, truth),
            "<h2>Per class</h2>",
            _classes(said, truth, record),
        ]
    shares = {name: [0.0 if one is None else one.weights.get(name, 0.0) for one in answers] for name in record.models}
    parts += ["<h2>Contribution over time</h2>", _stack(shares)]
    return "\n".join(parts) + "\n"


def _uniform(record: Record) -> list[float]:
    return [1.0 / len(record.labels)] * len(record.labels)


def _table(lines: Sequence[Line], task: str) -> str:
    shown = columns(task)
    head = "".join(f"<th>{html.escape(heading)}" for _, heading in (("", "method"), *shown))
    body = []
    for line in lines:
        name = f"{line.method} {line.trouble} {', '.join(line.names)}".strip()
        cells = "".join(f"<td>{_number(getattr(line.score, attribute))}" for attribute, _ in shown)
        body.append(f"<tr><td>{html.escape(name)}{cells}")
    return f"<table><tr>{head}{''.join(body)}</table>"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _bars(lines: Sequence[Line], attribute: str) -> str:
    values = [
        (f"{one.method} {one.trouble} {', '.join(one.names)}".strip(), getattr(one.score, attribute)) for one in lines
    ]
    top = max((value for _, value in values if value is not None), default=1.0) or 1.0
    rows = []
    for index, (name, value) in enumerate(values):
        y = 20 * index
        width = 0 if value is None else 480 * value / top
        rows.append(
            f'<text x="0" y="{y + 14}">{html.escape(name[:44])}</text>'
            f'<rect x="300" y="{y + 3}" width="{width:.1f}" height="14" fill="#3b82f6"/>'
            f'<text x="{305 + width:.1f}" y="{y + 14}">{_number(value)}</text>'
        )
    return f'<svg viewBox="0 0 840 {20 * len(values)}" role="img" aria-label="{attribute}">{"".join(rows)}</svg>'


def _reliability(said: NDArray[np.float64], truth: NDArray[np.int64]) -> str:
    confidence, right = said.max(axis=1), said.argmax(axis=1) == truth
    place = np.minimum((confidence * 10).astype(np.int64), 9)
    points = []
    for index in np.unique(place):
        rows = place == index
        x, y = 40 + 260 * float(confidence[rows].mean()), 280 - 260 * float(right[rows].mean())
        size = 3 + 9 * float(rows.mean()) ** 0.5
        points.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size:.1f}" fill="#3b82f6" fill-opacity=".7"/>')
    return (
        '<svg viewBox="0 0 320 300" width="320" role="img" aria-label="reliability">'
        '<path d="M40 280L300 20M40 20V280H300" fill="none" stroke="#8b949e"/>'
        f'{"".join(points)}<text x="120" y="298">confidence</text><text x="44" y="30">accuracy</text></svg>'
    )


def _classes(said: NDArray[np.float64], truth: NDArray[np.int64], record: Record) -> str:
    best = said.argmax(axis=1)
    rows = []
    for index, label in enumerate(record.labels):
        n, claimed = int((truth == index).sum()), int((best == index).sum())
        hits = int(((truth == index) & (best == index)).sum())
        recall, precision = hits / n if n else None, hits / claimed if claimed else None
        rows.append(f"<tr><td>{html.escape(label)}<td>{n}<td>{_number(precision)}<td>{_number(recall)}")
    return f"<table><tr><th>label<th>n<th>precision<th>recall{''.join(rows)}</table>"


def _stack(shares: dict[str, list[float]], bins: int = 160) -> str:
    colours = ("#3b82f6", "#f59e0b", "#10b981", "#ef4444", "#8b5cf6", "#14b8a6", "#ec4899", "#84cc16")
    n = len(next(iter(shares.values())))
    edges = np.linspace(0, n, min(bins, n) + 1).astype(np.intp)
    drawn, legend = [], []
    floor = np.zeros(len(edges) - 1)
    for index, (name, given) in enumerate(shares.items()):
        means = np.array([np.mean(given[low:high]) for low, high in itertools.pairwise(edges)])
        colour = colours[index % len(colours)]
        for place, (low, mean) in enumerate(zip(floor.tolist(), means.tolist(), strict=True)):
            if mean > 0:
                drawn.append(
                    f'<rect x="{place * 800 / len(means):.1f}" y="{180 - 160 * (low + mean):.1f}" '
                    f'width="{800 / len(means) + 0.5:.1f}" height="{160 * mean:.1f}" fill="{colour}"/>'
                )
        floor += means
        legend.append(f'<text x="{10 + index * 110}" y="200" style="fill:{colour}">{html.escape(name)}</text>')
    return f'<svg viewBox="0 0 800 210" role="img" aria-label="contribution">{"".join(drawn)}{"".join(legend)}</svg>'
