"""The report as one HTML file that needs no network: plots are SVG, drawn here."""

from __future__ import annotations

import html
from collections.abc import Sequence

from converters.evaluate.explanation import Explanation, VariantExplanation

_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--dim:#667;--line:#d5d9e0;--good:#1a7f4b;--bad:#b3261e;--back:#fff;
--bar:#3b6fb5}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8eb;--dim:#9aa3ad;--line:#3a4048;--back:#15181c;--bar:#7aa7e0;
--good:#5cc78f;--bad:#ff8a80}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--back);max-width:72rem;margin:2rem auto;
padding:0 1rem}
table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}th,td{border-bottom:1px solid var(--line);
padding:.35rem .6rem;text-align:left;vertical-align:top}td.n{text-align:right;font-variant-numeric:tabular-nums}
td{overflow-wrap:anywhere}code{font-size:.85em;overflow-wrap:anywhere}h1{margin-bottom:0}.dim{color:var(--dim)}.bad{color:var(--bad)}
.good{color:var(--good)}svg{max-width:100%;height:auto}svg text{fill:var(--ink);font:11px system-ui}
""".replace("\n", "")


def render(explanation: Explanation) -> str:
    """One standalone page."""
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width,initial-scale=1'>",
        f"<title>{_t(explanation.name)}: conversion report</title><style>{_STYLE}</style></head><body>",
        f"<h1>{_t(explanation.name)}</h1>",
        f"<p class='dim'>{_t(explanation.bundle)} · <code>{_t(explanation.digest)}</code><br>"
        f"{_t(explanation.signed)}</p>",
        "<h2>Summary</h2>",
        _summary(explanation),
        "<h2>Accuracy and latency</h2>",
        _pareto(explanation.variants),
    ]
    parts += [_variant(variant) for variant in explanation.variants]
    parts += ["<h2>Model card</h2>", _pairs(explanation.card), "<h2>Provenance</h2>", _pairs(explanation.provenance)]
    parts.append("</body></html>")
    return "\n".join(parts)


def _summary(explanation: Explanation) -> str:
    head = ("variant", "KiB", "metric", "float", "variant's", "95 %", "p50 ms", "float ms", "to float", "runtimes")
    rows = [
        (
            f"{each.precision} {each.format}",
            f"{each.bytes / 1024:.1f}",
            each.metric,
            f"{each.float_value:.4f}",
            f"{each.value:.4f}",
            f"{each.low:.4f} to {each.high:.4f}",
            f"{each.latency_ms:.3f}",
            f"{each.float_latency_ms:.3f}" if each.float_latency_ms else "",
            each.verdict,
            ", ".join(f"{name} ≥ {version}" for name, version in each.runtimes.items()),
        )
        for each in explanation.variants
    ]
    return _table(head, rows)


def _variant(variant: VariantExplanation) -> str:
    parts = [f"<h2>{_t(variant.precision)} {_t(variant.format)}</h2>"]
    if variant.worst_layer:
        parts.append(f"<p class='bad'>{_t(variant.worst_layer)}</p>")
    if variant.layers:
        parts += [
            "<h3>Error by layer</h3><p class='dim'>Signal over error in dB, on the check inputs: 40 is fine, under 10 "
            "little is left.</p>",
            _bars([(f"{layer.index} {layer.operator}", layer.sqnr_db) for layer in variant.layers]),
            _table(
                ("#", "operator", "layer", "SQNR dB", "cosine", "bias"),
                [
                    (str(e.index), e.operator, e.name, f"{e.sqnr_db:.1f}", f"{e.cosine:.5f}", f"{e.bias:.3g}")
                    for e in variant.layers
                ],
            ),
        ]
    for each in variant.delegations:
        parts.append(
            f"<h3>{_t(each.delegate)}: {each.share_of_operations:.0%} of operations, {each.share_of_macs:.0%} of MACs, "
            f"{each.partitions} part(s), checked by {_t(each.checked_by)}</h3>"
        )
        parts += [f"<p class='dim'>{_t(note)}</p>" for note in each.notes]
        parts.append(
            _table(
                ("#", "operator", "layer", "where", "why not", "cure"),
                [
                    (str(v.index), v.operator, v.name, each.delegate if v.is_delegated else "CPU", v.reason, v.advice)
                    for v in each.verdicts
                ],
            )
        )
    return "\n".join(parts)


def _bars(values: Sequence[tuple[str, float]]) -> str:
    """Horizontal bars from 0 to 60 dB, the bad ones red."""
    height, left, width = 18, 190, 520
    drawn = []
    for row, (name, value) in enumerate(values):
        length = max(1.0, min(value, 60.0) / 60.0 * width)
        y = row * height
        colour = "var(--bad)" if value < 10 else "var(--bar)"
        drawn.append(
            f"<text x='{left - 6}' y='{y + 13}' text-anchor='end'>{_t(name[:28])}</text>"
            f"<rect x='{left}' y='{y + 3}' width='{length:.1f}' height='{height - 6}' style='fill:{colour}'/>"
            f"<text x='{left + length + 5:.1f}' y='{y + 13}'>{value:.1f}</text>"
        )
    total = len(values) * height + 4
    return f"<svg viewBox='0 0 {left + width + 60} {total}' role='img'>{''.join(drawn)}</svg>"


def _pareto(variants: Sequence[VariantExplanation]) -> str:
    """Latency across, the metric upwards; each point is a variant."""
    if not variants:
        return ""
    width, height, edge = 640, 260, 46
    xs = [variant.latency_ms for variant in variants]
    ys = [variant.value for variant in variants]
    low_y, high_y = min([*ys, *(v.low for v in variants)]), max([*ys, *(v.high for v in variants)])
    span_y, span_x = (high_y - low_y) or 1.0, max(xs) * 1.1 or 1.0

    def at(x: float, y: float) -> tuple[float, float]:
        return edge + x / span_x * (width - 2 * edge), height - edge - (y - low_y) / span_y * (height - 2 * edge)

    drawn = [
        f"<line x1='{edge}' y1='{height - edge}' x2='{width - edge}' y2='{height - edge}' stroke='var(--line)'/>",
        f"<line x1='{edge}' y1='{edge}' x2='{edge}' y2='{height - edge}' stroke='var(--line)'/>",
        f"<text x='{width - edge}' y='{height - 14}' text-anchor='end'>p50, ms (to {span_x:.3g})</text>",
        f"<text x='{edge}' y='{edge - 12}'>{_t(variants[0].metric)} ({low_y:.4g} to {high_y:.4g})</text>",
    ]
    for place, variant in enumerate(variants):
        x, y = at(variant.latency_ms, variant.value)
        _, top = at(variant.latency_ms, variant.high)
        _, bottom = at(variant.latency_ms, variant.low)
        name, row = f"{variant.precision} {variant.format}", y + 14 + place % 8 * 13
        drawn.append(
            f"<line x1='{x:.1f}' y1='{top:.1f}' x2='{x:.1f}' y2='{bottom:.1f}' stroke='var(--dim)'/>"
            f"<circle cx='{x:.1f}' cy='{y:.1f}' r='4' style='fill:var(--bar)'/>"
            f"<text x='{x + 7:.1f}' y='{row:.1f}'>{_t(name)}</text>"
        )
    return f"<svg viewBox='0 0 {width} {height}' role='img'>{''.join(drawn)}</svg>"


def _pairs(values: dict[str, str]) -> str:
    rows = "".join(f"<tr><th>{_t(key)}</th><td><code>{_t(value)}</code></td></tr>" for key, value in values.items())
    return f"<table>{rows}</table>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def cell(text: str) -> str:
        numeric = bool(text) and text.replace(".", "").replace("-", "").replace("e", "").isdigit()
        return f"<td class='n'>{_t(text)}</td>" if numeric else f"<td>{_t(text)}</td>"

    body = "".join(f"<tr>{''.join(cell(text) for text in row)}</tr>" for row in rows)
    return f"<table><tr>{''.join(f'<th>{_t(name)}</th>' for name in head)}</tr>{body}</table>"


def _t(text: str) -> str:
    return html.escape(text)
