"""``edge-sdk convert``: a trained model becomes a bundle."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from converters.scheme import WORDS
from edge_sdk.base import plugins, terminal
from edge_sdk.base.errors import ConfigError

if TYPE_CHECKING:
    from converters.pipeline import Conversion


@click.command()
@click.argument("model", type=click.Path())
@click.option("--recipe", metavar="FILE", help="recipe.yaml: channels, windowing, preprocessing, labels.")
@click.option("--name", metavar="ID", help="The model's name; it stands before the recipe's. Default: the file's.")
@click.option("--rate", type=float, metavar="HZ", help="Samples a second, where the recipe has no windowing.")
@click.option("--labels", metavar="A,B,…", help="What the outputs mean, in order; they stand before the recipe's.")
@click.option("--format", "formats", multiple=True, metavar="tflite|onnx", help="May be given twice. Default: both.")
@click.option(
    "--precision",
    multiple=True,
    default=("int8",),
    show_default=True,
    metavar="NAME",
    help=f"May repeat: {', '.join(WORDS)}; or auto, which makes many and keeps the best.",
)
@click.option(
    "--max-drop", type=float, default=0.5, show_default=True, help="What `auto` may lose: points, or % of MAE."
)
@click.option(
    "--calibration",
    metavar="DATA",
    help="x (n, samples, channels) in physical units: .npz, .npy, .csv, .parquet, WAVs, images, module:function.",
)
@click.option("--evaluate", metavar="DATA", help="The same with y, unseen in training.")
@click.option("--input", "inputs", multiple=True, metavar="NAME=1,128,6", help="Fix an input's open dimensions.")
@click.option(
    "--custom-objects", multiple=True, metavar="MODULE[:NAME]", help="Defines layers of a Keras file; is run."
)
@click.option("--board", metavar="NAME", help="A name of `edge-sdk boards`, or your own .yaml.")
@click.option("--python", "pythons", multiple=True, metavar="RUNTIME=PATH", help="Prove on that environment's, too.")
@click.option("--require-delegated", type=click.FloatRange(0, 1), metavar="SHARE", help="Fail below this share.")
@click.option("--sign", "key", metavar="KEYFILE", help="Sign with this key; `edge-sdk keys new` makes one.")
@click.option("--html", "html_file", metavar="FILE", help="Also write a report: what was tried, and why it was chosen.")
@click.option("--no-cache", is_flag=True, help="Make everything anew; do not keep it either.")
@click.option("-o", "--out", required=True, metavar="FILE", help="The bundle, out.edge.")
@terminal.json_option
def convert(
    model: str,
    recipe: str | None,
    name: str | None,
    rate: float | None,
    labels: str | None,
    formats: tuple[str, ...],
    precision: tuple[str, ...],
    max_drop: float,
    calibration: str | None,
    evaluate: str | None,
    inputs: tuple[str, ...],
    custom_objects: tuple[str, ...],
    board: str | None,
    pythons: tuple[str, ...],
    require_delegated: float | None,
    key: str | None,
    html_file: str | None,
    no_cache: bool,
    out: str,
    json_file: str | None,
) -> None:
    """Turn a trained MODEL into a bundle for the edge, proved on the runtimes that will serve it.

    MODEL is a Keras file (.keras, .h5), a SavedModel folder, a float .tflite, an ONNX file, a program of PyTorch (.pt2)
    or an estimator of scikit-learn (.joblib).

    \b
    Examples:
      edge-sdk convert model.keras --rate 50 --calibration train.npz --evaluate test.npz -o model.edge
      edge-sdk convert model.onnx --recipe recipe.yaml --precision int8 --precision float32 \
          --calibration train.npz --sign keys/me.pem -o model.edge
    """
    try:
        from converters import pipeline
        from converters.evaluate.elsewhere import environments
        from converters.recipe import Recipe
    except ModuleNotFoundError as error:
        raise plugins.missing_extra("edge-sdk convert", error) from error
    given = pipeline.replaced(
        Recipe.read(recipe) if recipe else Recipe(),
        name=name,
        rate_hz=rate,
        labels=tuple(label.strip() for label in labels.split(",")) if labels else None,
    )
    with _term_as_interrupt():
        done = pipeline.convert(
            model,
            given,
            out=out,
            calibration=calibration,
            evaluate=evaluate,
            precision=precision,
            max_drop=max_drop,
            formats=formats or None,
            shapes=dict(shape_of(text) for text in inputs),
            board=board,
            require_delegated=require_delegated,
            key=key,
            cache=not no_cache,
            custom_objects=custom_objects,
            pythons=environments(pythons),
        )
    if json_file != "-":
        _show(done)
    terminal.write_json(json_file, done.report)
    if html_file:
        from converters.evaluate.explanation import explain
        from converters.evaluate.html import render

        trail = done.report if any(row.why for row in done.report) else ()
        Path(html_file).write_text(render(explain(done, trail=trail)), encoding="utf-8")
        click.echo(f"Report: {html_file}", err=json_file == "-")


@contextmanager
def _term_as_interrupt() -> Iterator[None]:
    """Being asked to end is as Ctrl-C: what was begun is taken away again."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def shape_of(text: str) -> tuple[str, tuple[int, ...]]:
    """Read ``NAME=1,128,6``.

    Raises:
        ConfigError: It is not that form.
    """
    name, _, numbers = text.rpartition("=")
    try:
        shape: tuple[int, ...] = tuple(int(number) for number in numbers.split(","))
    except ValueError:
        shape = ()
    if not name or not shape or min(shape) < 1:
        raise ConfigError(f"--input {text!r} is not understood; wanted is NAME=1,128,6.")
    return name, shape


def _show(done: Conversion) -> None:
    rows: list[tuple[object, ...]] = [
        (
            row.precision,
            row.format,
            f"{row.bytes / 1024:.1f}",
            f"{row.float_value:.4f}",
            f"{row.quantized:.4f} [{row.interval[0]:.4f}, {row.interval[1]:.4f}]",
            f"{row.float_latency_ms:.3f}",
            f"{row.latency_ms:.3f}",
            ", ".join(
                f"{runtime} {found.lowest}{'' if found.version else '*'}" for runtime, found in row.runtimes.items()
            ),
        )
        for row in done.report
    ]
    metric = done.report[0].metric
    if any(row.why for row in done.report):
        rows = [(*cells, row.why) for cells, row in zip(rows, done.report, strict=True)]
    columns = (
        "precision",
        "format",
        "KiB",
        f"{metric} float",
        f"{metric} [95 %]",
        "float ms",
        "ms",
        "runs on, from (* not run here)",
        "why",
    )[: len(rows[0])]
    terminal.table(f"{done.manifest.name} → {done.path}", columns, rows)
    for note in done.notes:
        terminal.warning(note)
    slower = [
        f"{row.precision} {row.format} ({row.latency_ms:.3f} ms against {row.float_latency_ms:.3f} ms)"
        for row in done.report
        if row.is_slower and row.is_in_bundle
    ]
    if slower:
        terminal.warning(
            f"Slower than float32 here: {', '.join(slower)}. On an arm board it may not be; measure there with "
            "`edge-sdk bench`."
        )
    signed = f"signed by {done.signer.key_id}" if done.signer else "not signed"
    click.echo(f"{done.path}: {done.digest}, {signed}")
