"""``edge-sdk explain``: what a bundle's variants do, layer by layer, and where they run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_sdk.base import plugins, terminal

if TYPE_CHECKING:
    from converters.evaluate.explanation import Explanation, VariantExplanation


@click.command()
@click.argument("bundle", type=click.Path())
@click.option("--html", "html_file", metavar="FILE", help="Write a standalone report, to be opened in any browser.")
@terminal.json_option
def explain(bundle: str, html_file: str | None, json_file: str | None) -> None:
    """Explain BUNDLE: parity, error by layer, coverage, latency on this machine.

    Error by layer needs the float32 variant beside it: convert with --precision int8 --precision float32.

    \b
    Examples:
      edge-sdk explain model.edge --html report.html
    """
    try:
        from converters.evaluate.explanation import explain as explained
        from converters.evaluate.html import render
    except ModuleNotFoundError as error:
        raise plugins.missing_extra("edge-sdk explain", error) from error
    from edge_sdk.contract.bundle import read_bundle
    from edge_sdk.contract.trust import Trust

    with terminal.progress("running every variant"):
        explanation = explained(read_bundle(bundle, Trust(allow_unsigned=True)))
    if json_file != "-":
        _summary(explanation)
    if html_file:
        Path(html_file).write_text(render(explanation), encoding="utf-8")
        click.echo(f"Report: {html_file}", err=json_file == "-")
    terminal.write_json(json_file, explanation)


def _summary(explanation: Explanation) -> None:
    terminal.table(
        f"{explanation.name}, {explanation.signed}",
        ("variant", "KiB", "metric", "float", "variant's", "ms", "float ms", "off by", "allowed"),
        [
            (
                f"{each.precision} {each.format}", f"{each.bytes / 1024:.1f}", each.metric, f"{each.float_value:.4f}",
                f"{each.value:.4f}", f"{each.latency_ms:.3f}",
                each.float_pace, f"{each.difference:.2g}", f"{each.tolerance:.2g}",
            )
            for each in explanation.variants
        ],
    )  # fmt: skip
    for each in explanation.variants:
        _show(each)


def _show(variant: VariantExplanation) -> None:
    if variant.layers:
        worst = min(variant.layers, key=lambda layer: layer.sqnr_db)
        click.echo(
            f"- {variant.precision} {variant.format}: the worst layer is #{worst.index} {worst.operator}, "
            f"{worst.sqnr_db:.1f} dB"
        )
    for each in variant.delegations:
        click.echo(
            f"- {variant.precision} {variant.format}: {each.delegate} takes {each.share_of_operations:.0%} of the "
            f"operations in {each.partitions} part(s), by {each.checked_by}"
        )
    if variant.worst_layer:
        terminal.warning(f"{variant.precision} {variant.format}: {variant.worst_layer}")
    if variant.float_latency_ms and variant.latency_ms > 1.05 * variant.float_latency_ms:
        terminal.warning(f"{variant.precision} {variant.format} is slower than float32 on this machine.")
