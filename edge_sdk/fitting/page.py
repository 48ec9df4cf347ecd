"""The page that ``fuse evaluate --html`` writes: figures and plots, one file, no script, nothing from a network."""

from __future__ import annotations

import html
import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_sdk.base.clock import to_datetime
from edge_sdk.fitting.evaluate import FUSED, STRENGTHS, Line, cell, columns, goodness, short
from edge_sdk.fitting.plots import COLOURS, Curve, areas, curves, reliability, scatter
from edge_sdk.fitting.record import Record
from edge_sdk.fitting.score import Score, run
from edge_sdk.fusion.base import Fused
from edge_sdk.fusion.file import FusionSpec

_BINS = 160
_IN_ITS_UNIT = ("mae", "crps", "width")  # of an estimate
_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--quiet:#57606a;--line:#d8dee4;--paper:#fff;--best:#eef6ff}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--quiet:#9aa4ae;--line:#30363d;--paper:#0d1117;--best:#12233a}}
body{font:15px/1.5 system-ui,sans-serif;max-width:68rem;margin:2rem auto;padding:0 1rem;color:var(--ink);
background:var(--paper)}
h1{font-size:1.6rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin:2rem 0 .4rem}p{margin:.3rem 0;max-width:48rem}
.quiet{color:var(--quiet)}.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
td,th{padding:.25rem .6rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
td:first-child,th:first-child{text-align:left}th{font-weight:600}tr.fused td{background:var(--best);font-weight:600}
svg{max-width:100%;height:auto;display:block}svg text{font:12px system-ui,sans-serif;fill:var(--ink)}
svg .axis{stroke:var(--quiet);fill:none}svg .grid{stroke:var(--line);fill:none}
small{display:block;color:var(--quiet);font-weight:400;font-size:.75rem;line-height:1.1}figure{margin:0}
.side{display:flex;flex-wrap:wrap;gap:1rem 2rem}.side figure,.side section{flex:1 1 22rem;min-width:0}
figcaption{color:var(--quiet);font-size:.9rem}.long svg{min-width:44rem}
@media(max-width:40rem){td:first-child{white-space:normal;min-width:7.5rem}}
"""


def page(title: str, spec: FusionSpec, record: Record, lines: Sequence[Line]) -> str:
    """A whole HTML document."""
    answers = run(spec.open(), record)
    measure = "accuracy" if record.task == "classification" else _in_unit("mean absolute error", record)
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style><main>",
        f"<h1>{html.escape(title)}</h1>",
        f'<p class="quiet">{html.escape(spec.method)} of {", ".join(map(html.escape, record.models))}; '
        f"moments: {len(record)}, groups: {len(set(record.groups.tolist()))}. {_stated(spec)}Below each figure: its "
        "95 % interval, by a bootstrap over groups or stretches of time.</p>",
        "<h2>Whole, and in trouble</h2>",
        _table(short(lines), record),
        "<h2>Robustness</h2>",
        f'<div class="side">{_absence(lines, measure)}{_noise(lines, measure)}</div>',
    ]
    if record.task == "classification":
        parts += _of_classes(answers, record)
    else:
        parts += _of_estimates(answers, record, None if spec.conformal is None else spec.conformal.coverage)
    parts += ["<h2>Contribution over time</h2>", _contribution(answers, record), "</main></html>"]
    return "\n".join(parts) + "\n"


def _in_unit(what: str, record: Record) -> str:
    return f"{what}, {record.unit}" if record.unit else what


def _stated(spec: FusionSpec) -> str:
    """What coverage is to be compared with."""
    if spec.conformal is None:
        return ""
    return f"{'Sets' if spec.task == 'classification' else 'Intervals'} state {spec.conformal.coverage * 100:.0f} %. "


def _table(rows: Sequence[tuple[str, Score]], record: Record) -> str:
    shown = columns(record.task)
    headings = [
        _in_unit(heading, record) if record.task == "regression" and attribute in _IN_ITS_UNIT else heading
        for attribute, heading in shown
    ]
    head = "".join(f'<th scope="col">{html.escape(heading)}</th>' for heading in ("method", *headings))
    body = []
    for name, given in rows:
        cells = "".join(f"<td>{_cell(given, attribute)}</td>" for attribute, _ in shown)
        mark = ' class="fused"' if name == FUSED else ""
        body.append(f"<tr{mark}><td>{html.escape(name)}</td>{cells}</tr>")
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'


def _cell(given: Score, attribute: str) -> str:
    figure, between, interval = cell(given, attribute).partition(" [")
    return f"{figure}<small>{interval.rstrip(']')}</small>" if between else figure


def _value(given: Score) -> float:
    return given.accuracy if given.accuracy is not None else (given.mae or 0.0)


def _figure(drawing: str, caption: str) -> str:
    return f"<figure>{drawing}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _absence(lines: Sequence[Line], measure: str) -> str:
    """The fused answer against how many are absent: the mean over who, and the worst; beside the best one alone."""
    whole = next(line for line in reversed(lines) if not line.trouble)
    alone = max((line for line in lines if line.method.endswith(" alone")), key=lambda line: goodness(line.score))
    points: dict[str, list[tuple[float, float]]] = {
        "mean": [(0, _value(whole.score))],
        "worst": [(0, _value(whole.score))],
    }
    most = 0
    for count in itertools.count(1):
        those = [line for line in lines if line.trouble == "absent" and len(line.names) == count]
        if not those:
            break
        most = count
        worst = min(those, key=lambda line: goodness(line.score))
        points["mean"].append((count, float(np.mean([_value(line.score) for line in those]))))
        points["worst"].append((count, _value(worst.score)))
    level = _value(alone.score)
    drawn = curves(
        [
            Curve("fused, mean over who is absent", tuple(points["mean"])),
            Curve("fused, the worst", tuple(points["worst"])),
            Curve(f"{alone.method}, all there", ((0, level), (most, level)), dashed=True),
        ],
        x="contributors absent",
        y=measure,
        whole_numbers=True,
    )
    return _figure(drawn, "What is left when contributors are absent.")


def _noise(lines: Sequence[Line], measure: str) -> str:
    """The fused answer against the noise on each contributor's sensor."""
    whole = next(line for line in reversed(lines) if not line.trouble)
    noisy = [line for line in lines if line.trouble == "noisy" and len(line.names) == 1]
    if not noisy:
        return ""
    drawn = curves(
        [
            Curve(
                name,
                (
                    (0.0, _value(whole.score)),
                    *((one.strength, _value(one.score)) for one in noisy if one.names == (name,)),
                ),
            )
            for name in dict.fromkeys(line.names[0] for line in noisy)
        ],
        x=f"noise on one sensor, up to {max(STRENGTHS):g} standard deviations of its signal",
        y=measure,
    )
    return _figure(drawn, "The fused answer while one sensor is noisy.")


def _of_classes(answers: Sequence[Fused | None], record: Record) -> list[str]:
    truth = np.asarray(record.truth, dtype=np.int64)
    uniform = [1.0 / len(record.labels)] * len(record.labels)
    said = np.array(
        [uniform if one is None or one.probabilities is None else one.probabilities for one in answers], np.float64
    )
    return [
        '<div class="side"><section><h2>Reliability</h2>',
        _figure(
            reliability(said.max(axis=1), said.argmax(axis=1) == truth),
            "Confidence against accuracy; area = share of moments.",
        ),
        "</section><section><h2>Per class</h2>",
        _per_class(said.argmax(axis=1), truth, record),
        "</section></div>",
    ]


def _per_class(best: NDArray[np.intp], truth: NDArray[np.int64], record: Record) -> str:
    rows = []
    for index, label in enumerate(record.labels):
        n, claimed = int((truth == index).sum()), int((best == index).sum())
        hits = int(((truth == index) & (best == index)).sum())
        both = n + claimed
        shares = ["-" if not of else f"{part / of:.3f}" for part, of in ((hits, claimed), (hits, n), (2 * hits, both))]
        rows.append(f"<tr><td>{html.escape(label)}</td><td>{n}</td>{''.join(f'<td>{one}</td>' for one in shares)}</tr>")
    head = "".join(f'<th scope="col">{name}</th>' for name in ("label", "moments", "precision", "recall", "F1"))
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _of_estimates(answers: Sequence[Fused | None], record: Record, stated: float | None) -> list[str]:
    there = [
        (one.value, float(true), one.interval)
        for one, true in zip(answers, record.truth.tolist(), strict=True)
        if one is not None and one.value is not None
    ]
    if not there:
        return []
    drawn = scatter(
        [(true, value) for value, true, _ in there], x=_in_unit("true", record), y=_in_unit("fused", record)
    )
    return [
        '<div class="side"><section><h2>Estimates</h2>',
        _figure(drawn, "At most 800 moments, evenly chosen."),
        "</section><section><h2>Reliability</h2>",
        _figure(
            _coverage(there, stated, _in_unit("estimate", record)),
            "Share of truths within the interval, by the height of the estimate.",
        ),
        "</section></div>",
    ]


def _coverage(
    there: Sequence[tuple[float, float, tuple[float, float] | None]], stated: float | None, estimate: str
) -> str:
    """Coverage of the intervals in ten equal parts of the estimates."""
    given = sorted((value, ends[0] <= true <= ends[1]) for value, true, ends in there if ends is not None)
    if not given or stated is None:
        return "<p>This fusion states no intervals.</p>"
    parts = [part for part in np.array_split(np.array(given), min(10, len(given))) if len(part)]
    points = tuple((float(part[:, 0].mean()), float(part[:, 1].mean())) for part in parts)
    level = Curve("stated", ((points[0][0], stated), (points[-1][0], stated)), dashed=True)
    return curves([Curve("measured", points), level], x=estimate, y="share of truths within", low=0.0, high=1.0)


def _contribution(answers: Sequence[Fused | None], record: Record) -> str:
    """Mean weight of each contributor over stretches of time."""
    n = len(answers)
    edges = np.linspace(0, n, min(_BINS, n) + 1).astype(np.intp)
    shares = {
        name: np.array([0.0 if one is None else one.weights.get(name, 0.0) for one in answers])
        for name in record.models
    }
    means = {
        name: [float(given[low:high].mean()) for low, high in itertools.pairwise(edges)]
        for name, given in shares.items()
    }
    first, last = (to_datetime(int(record.t_ns[place])).strftime("%Y-%m-%d %H:%M") for place in (0, -1))
    drawn = f'<div class="wide long">{areas(means, COLOURS)}</div>'
    return _figure(drawn, f"Weights from {first} to {last}, in the order of the data; blank = no answer.")
