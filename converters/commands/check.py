"""``edge-sdk check``: before converting, what of a model a board's runtimes and delegates will take, and why not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_sdk.base import plugins, terminal

if TYPE_CHECKING:
    from converters.targets.fit import Fit
    from edge_sdk.boards.profile import Board


@click.command()
@click.argument("model", type=click.Path())
@click.option("--board", required=True, metavar="NAME", help="A name of `edge-sdk boards`, or your own .yaml.")
@click.option("--precision", default="int8", show_default=True, help="What the model is to become.")
@click.option("--input", "inputs", multiple=True, metavar="NAME=1,128,6", help="Fix an input's open dimensions.")
@click.option(
    "--custom-objects", multiple=True, metavar="MODULE[:NAME]", help="Defines layers of a Keras file; is run."
)
@click.option("--require-delegated", type=click.FloatRange(0, 1), metavar="SHARE", help="Fail below this share.")
@click.option("--all", "show_all", is_flag=True, help="List every operator, not only those left to the CPU.")
@terminal.json_option
def check(
    model: str,
    board: str,
    precision: str,
    inputs: tuple[str, ...],
    custom_objects: tuple[str, ...],
    require_delegated: float | None,
    show_all: bool,
    json_file: str | None,
) -> None:
    """Tell what of MODEL will run where on a board, before anything is converted.

    MODEL is whatever `edge-sdk convert` takes, or a bundle.

    \b
    Examples:
      edge-sdk check model.keras --board raspberry-pi-5
      edge-sdk check model.tflite --board coral-dev-board --require-delegated 0.95
    """
    try:
        from converters.targets.fit import fit
        from edge_sdk.boards.profile import read_board
    except ModuleNotFoundError as error:
        raise plugins.missing_extra("edge-sdk check", error) from error
    profile = read_board(board)
    models = _models(Path(model), profile, precision, inputs, custom_objects)
    fits = [fit(content, profile, precision=found) for found, content in models]
    if json_file != "-":
        for each in fits:
            _show(each, profile, show_all=show_all)
    terminal.write_json(json_file, fits)
    if require_delegated is not None:
        for each in fits:
            each.require(require_delegated)


def _models(
    path: Path, board: Board, precision: str, inputs: tuple[str, ...], custom_objects: tuple[str, ...]
) -> Iterator[tuple[str, bytes]]:
    """The model in each format that the board reads: as it is, from a bundle, or converted to float for the purpose."""
    from converters.artifact import Artifact
    from converters.cli import shape_of
    from converters.custom import digests
    from converters.forge import Forged, ForgeJob
    from converters.recipe import Recipe
    from converters.scheme import Scheme
    from converters.stage import run_stage, scratch
    from converters.targets.graph import read_graph
    from edge_sdk.base.errors import ConversionError
    from edge_sdk.contract.bundle import SUFFIX, read_bundle
    from edge_sdk.contract.trust import Trust

    if path.suffix == SUFFIX:
        bundle = read_bundle(path, Trust(allow_unsigned=True))
        for variant in bundle.manifest.variants:
            content = bundle.files[variant.file]
            if variant.format in board.formats and ("edgetpu" in board.rules or not read_graph(content).is_compiled):
                yield variant.precision, content
        return
    artifact = Artifact.of(path)
    if artifact.kind in {"tflite", "onnx"}:
        yield precision, path.read_bytes()
        return
    with scratch() as name, terminal.progress("loading the model") as bar:
        job = ForgeJob(
            path=str(path.resolve()),
            kind=artifact.kind,
            name=artifact.name,
            recipe=Recipe(),
            schemes=tuple(Scheme(each, "float32") for each in board.formats),
            shapes=dict(shape_of(text) for text in inputs),
            custom_objects=digests(custom_objects),
            only_structure=True,
        )
        run_stage("converters.forge", job, Path(name), Forged, say=bar.say)
        for scheme in job.schemes:
            yield precision, (Path(name) / scheme.file).read_bytes()
    if not job.schemes:
        raise ConversionError(f"{board.title} reads no format.")


def _show(fit: Fit, board: Board, *, show_all: bool) -> None:
    title = f"{fit.format} {fit.precision} on {board.title}: {fit.operators} operators, {fit.macs / 1e6:.2f} M MACs"
    rows = [
        (
            each.delegate,
            f"{each.share_of_operations:.0%}",
            f"{each.share_of_macs:.0%}",
            each.partitions,
            each.checked_by,
        )
        for each in fit.delegations
    ]
    if rows:
        terminal.table(title, ("delegate", "operations", "MACs", "parts", "checked by"), rows)
    else:
        click.echo(f"{title}. No delegate there takes {fit.format}: the CPU runs all of it.")
    for each in fit.delegations:
        left = [
            (verdict.index, verdict.operator, verdict.name[:40], verdict.reason or each.delegate, verdict.advice)
            for verdict in each.verdicts
            if show_all or not verdict.is_delegated
        ]
        if left:
            what = "Every operator" if show_all else f"Left to the CPU by {each.delegate}"
            terminal.table(
                what, ("#", "operator", "name", "why" if not show_all else "where, or why not", "cure"), left
            )
        for note in each.notes:
            click.echo(f"- {each.delegate}: {note}")
    needs = ", ".join(f"{name} {version}" for name, version in fit.runtimes.items())
    click.echo(f"- Needs one of: {needs or 'the Edge TPU runtime'}")
    for warning in fit.warnings:
        terminal.warning(warning)
