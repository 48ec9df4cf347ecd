"""The report as one HTML file that needs no network."""

from __future__ import annotations

import html
from collections.abc import Sequence

from converters.evaluate.explanation import Explanation, VariantExplanation
from converters.evaluate.layers import BAD_SQNR_DB
from converters.evaluate.plots import Point, bars, histogram, pareto
from converters.report import LOWER_IS_BETTER, VariantReport
from converters.scheme import WORDS

_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--dim:#5d6670;--line:#d5d9e0;--good:#1a7f4b;--bad:#b3261e;--back:#fff;
--bar:#3b6fb5;--card:#f5f7fa}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8eb;--dim:#9aa3ad;--line:#3a4048;--back:#15181c;--bar:#7aa7e0;
--good:#5cc78f;--bad:#ff8a80;--card:#1d2127}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--back);max-width:76rem;margin:2rem auto;
padding:0 1rem}
h1{margin:0}h2{margin:2.2rem 0 .4rem;border-bottom:2px solid var(--line)}h3{margin:1.4rem 0 .3rem}
.wide{overflow-x:auto}table{border-collapse:collapse;min-width:50%;margin:.5rem 0 1.2rem}
th,td{border-bottom:1px solid var(--line);padding:.3rem .7rem;text-align:left;vertical-align:top}
th{font-weight:600;color:var(--dim);font-size:.9em;white-space:nowrap}th.n{text-align:right}
td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}td.s{white-space:nowrap}
code{font-size:.85em;overflow-wrap:anywhere}.dim{color:var(--dim)}.bad{color:var(--bad)}.good{color:var(--good)}
.verdicts{display:grid;grid-template-columns:repeat(auto-fit,minmax(15rem,1fr));gap:.8rem;margin:1rem 0}
.verdict{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.7rem .9rem}
.verdict b{display:block;font-size:1.5em;line-height:1.2}
svg{display:block;max-width:100%;min-width:36rem;height:auto;width:46rem}
svg.small{width:14rem;min-width:0;display:inline-block;margin:.3rem 1rem .3rem 0}
svg text{fill:var(--ink);font:11px system-ui;paint-order:stroke;stroke:var(--back);stroke-width:3px}
.bar,.dot{fill:var(--bar)}.badbar{fill:var(--bad)}
.hollow{fill:var(--back);stroke:var(--bar);stroke-width:1.5}.grid{stroke:var(--line);stroke-dasharray:2 3}
.axis{stroke:var(--dim)}.whisker{stroke:var(--dim)}.front{fill:none;stroke:var(--good);stroke-width:1.5}
summary{cursor:pointer;color:var(--dim)}
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
        _verdicts(explanation),
        _summary(explanation),
        *(f"<p class='dim'>{_t(note)}</p>" for note in explanation.notes),
    ]
    if explanation.trail:
        parts += ["<h2>Trail</h2>", _trail(explanation.trail)]
    else:
        parts += ["<h2>Accuracy and latency</h2>", _points(explanation.variants)]
    if explanation.confusion:
        parts += ["<h2>What it confuses</h2>", _confusion(explanation)]
    parts += [_variant(variant) for variant in explanation.variants]
    if explanation.histograms:
        parts += [
            "<h2>Calibration data</h2><p class='dim'>Values in physical units, before preprocessing. What a station "
            "sees outside of them, the model was never measured on.</p>",
            "".join(histogram(each) for each in explanation.histograms),
        ]
    parts += ["<h2>Model card</h2>", _pairs(explanation.card), "<h2>Provenance</h2>", _pairs(explanation.provenance)]
    parts.append("</body></html>")
    return "\n".join(parts)


def _verdicts(explanation: Explanation) -> str:
    """What one wants to know of the first variant before anything else."""
    first = explanation.variants[0]
    told = [(f"{first.precision} {first.format}", WORDS.get(first.precision, ""), "")]
    told.append((f"{first.value:.4g}", f"{first.metric}; the float model's is {first.float_value:.4g}", ""))
    pace = f"{first.latency_ms:.3g} ms", first.verdict or "p50 of one call, here", "bad" if first.is_slower else ""
    told.append(pace)
    told.append((f"{first.bytes / 1024:.1f} KiB", "size of the model", ""))
    if first.delegations:
        best = first.delegations[0]
        told.append(
            (
                f"{best.share_of_operations:.0%}",
                f"of the operations on {best.delegate}, by {best.checked_by}",
                "" if best.share_of_operations >= 0.5 else "bad",
            )
        )
    is_right = first.difference <= first.tolerance
    told.append(
        ("right" if is_right else "wrong", "answers to its check inputs, here and now", "good" if is_right else "bad")
    )
    cards = (f"<div class='verdict'><b class='{c}'>{_t(what)}</b>{_t(words)}</div>" for what, words, c in told)
    return f"<div class='verdicts'>{''.join(cards)}</div>"


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
            each.float_pace,
            each.verdict,
            ", ".join(f"{name} ≥ {version}" for name, version in each.runtimes.items()),
        )
        for each in explanation.variants
    ]
    return _table(head, rows)


def _trail(rows: Sequence[VariantReport]) -> str:
    head = ("variant", "KiB", rows[0].metric, "float", "95 %", "p50 ms", "float ms", "why")
    cells = [
        (
            f"{row.precision} {row.format}",
            f"{row.bytes / 1024:.1f}",
            f"{row.quantized:.4f}",
            f"{row.float_value:.4f}",
            f"{row.interval[0]:.4f} to {row.interval[1]:.4f}",
            f"{row.latency_ms:.3f}",
            f"{row.float_latency_ms:.3f}",
            row.why,
        )
        for row in rows
    ]
    points = [
        Point(f"{row.precision} {row.format}", row.latency_ms, row.quantized, *row.interval, row.is_in_bundle)
        for row in rows
    ]
    metric = rows[0].metric
    drawn = pareto(points, cost="p50, ms", quality=metric, lower_is_better=metric in LOWER_IS_BETTER)
    return drawn + _table(head, cells)


def _points(variants: Sequence[VariantExplanation]) -> str:
    if not variants:
        return ""
    points = [Point(f"{v.precision} {v.format}", v.latency_ms, v.value, v.low, v.high) for v in variants]
    metric = variants[0].metric
    return pareto(points, cost="p50, ms", quality=metric, lower_is_better=metric in LOWER_IS_BETTER)


def _confusion(explanation: Explanation) -> str:
    labels, rows = explanation.labels, explanation.confusion
    cells = [
        (label, *(str(n) for n in row), f"{row[index] / max(1, sum(row)):.1%}")
        for index, (label, row) in enumerate(zip(labels, rows, strict=True))
    ]
    words = "<p class='dim'>Rows are what it was, columns what the first variant says, on the evaluation data.</p>"
    return words + _table(("", *labels, "right"), cells)


def _variant(variant: VariantExplanation) -> str:
    parts = [f"<h2>{_t(variant.precision)} {_t(variant.format)}</h2>"]
    parts.append(f"<p class='dim'>{_t(WORDS.get(variant.precision, ''))}</p>")
    if variant.worst_layer:
        parts.append(f"<p class='bad'>{_t(variant.worst_layer)}</p>")
    if variant.layers:
        rows = [
            (str(e.index), e.operator, e.name, f"{e.sqnr_db:.1f}", f"{e.cosine:.5f}", f"{e.bias:.3g}")
            for e in variant.layers
        ]
        parts += [
            "<h3>Error by layer</h3><p class='dim'>Signal over error in dB, on the check inputs: 40 is fine, under 10 "
            "little is left.</p>",
            bars(
                [(f"{layer.index} {layer.operator}", layer.sqnr_db) for layer in variant.layers], bad_below=BAD_SQNR_DB
            ),
            "<details><summary>as a table</summary>",
            _table(("#", "operator", "layer", "SQNR dB", "cosine", "bias"), rows, layer=2),
            "</details>",
        ]
    if variant.delegations:
        parts.append(_coverage(variant))
    return "\n".join(parts)


def _coverage(variant: VariantExplanation) -> str:
    """Every operator, and for each delegate whether it takes it or why not."""
    found = variant.delegations
    shares = [
        (
            each.delegate,
            f"{each.share_of_operations:.0%}",
            f"{each.share_of_macs:.0%}",
            str(each.partitions),
            each.checked_by,
            " ".join(each.notes),
        )
        for each in found
    ]
    rows = []
    for verdicts in zip(*(each.verdicts for each in found), strict=True):
        one = verdicts[0]
        cures = dict.fromkeys(verdict.advice for verdict in verdicts if verdict.advice)
        answers = ("✓" if verdict.is_delegated else f"CPU: {verdict.reason}" for verdict in verdicts)
        rows.append((str(one.index), one.operator, one.name, str(one.macs), *answers, " ".join(cures)))
    head = ("#", "operator", "layer", "MACs", *(each.delegate for each in found), "cure")
    is_whole = all(each.share_of_operations == 1.0 for each in found)
    return "\n".join(
        (
            "<h3>Coverage</h3>",
            _table(("delegate", "operations", "MACs", "parts", "checked by", "notes"), shares),
            f"<details{'' if is_whole else ' open'}><summary>operator by operator</summary>",
            _table(head, rows, layer=2),
            "</details>",
        )
    )


def _pairs(values: dict[str, str]) -> str:
    rows = "".join(f"<tr><th>{_t(key)}</th><td><code>{_t(value)}</code></td></tr>" for key, value in values.items())
    return f"<div class='wide'><table>{rows}</table></div>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, layer: int | None = None) -> str:
    """A table; in column `layer` stand the long names that converters give, shown by their last part."""

    def cell(index: int, text: str) -> str:
        if index == layer:
            short = text.split(";")[0].rstrip("/").rpartition("/")[2][:40] or text[:40]
            return f"<td class='s' title='{_t(text)}'>{_t(short)}</td>"
        if _is_number(text):
            return f"<td class='n'>{_t(text)}</td>"
        return f"<td class='s'>{_t(text)}</td>" if len(text) < 28 else f"<td>{_t(text)}</td>"

    body = "".join(f"<tr>{''.join(cell(i, text) for i, text in enumerate(row))}</tr>" for row in rows)
    heads = (
        f"<th{' class=n' if i != layer and rows and _is_number(rows[0][i]) else ''}>{_t(name)}</th>"
        for i, name in enumerate(head)
    )
    return f"<div class='wide'><table><tr>{''.join(heads)}</tr>{body}</table></div>"


def _is_number(text: str) -> bool:
    return text.strip("%").replace(".", "").replace("-", "").replace("e", "").replace("+", "").isdigit()


def _t(text: str) -> str:
    return html.escape(text, quote=True)
