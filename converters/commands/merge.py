"""``edge-sdk merge``: several models that look at the same window, and their fusion, as one model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_sdk.base import plugins, terminal
from edge_sdk.base.errors import ConversionError

if TYPE_CHECKING:
    from converters.merge.merging import Report

_METHODS = ("log_opinion_pool", "weighted_mean")


@click.command()
@click.argument("bundles", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="BUNDLE BUNDLE…")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="The bundle to write: name.edge.")
@click.option("--fusion", type=click.Choice(_METHODS), default="log_opinion_pool", show_default=True)
@click.option("--weight", "weights", multiple=True, metavar="NAME=W", help="Weight of one member; the others weigh 1.")
@click.option("--floor", type=float, default=1e-4, show_default=True, help="Lifts smaller probabilities (log pool).")
@click.option("--temper", type=float, default=1.0, show_default=True, help="1 = geometric mean, 0 = full product.")
@click.option("--name", help="Name of the merged model; default: that of the file.")
@click.option("--sensor", help="The sensor that measures all their channels, where the members name different ones.")
@click.option(
    "--format", "formats", multiple=True, type=click.Choice(["onnx", "tflite"]), help="Default: all there are."
)
@click.option("--precision", help="Which variant of every member; default: each one's first.")
@click.option("--auto", is_flag=True, help="Write it only if it is faster here than its members one after the other.")
@click.option("--sign", "key", type=click.Path(path_type=Path), metavar="KEYFILE", help="Sign with this key.")
@terminal.json_option
def merge(
    bundles: tuple[Path, ...],
    out: Path,
    fusion: str,
    weights: tuple[str, ...],
    floor: float,
    temper: float,
    name: str | None,
    sensor: str | None,
    formats: tuple[str, ...],
    precision: str | None,
    auto: bool,
    key: Path | None,
    json_file: str | None,
) -> None:
    """Make one model of several that share a trigger: the same windows of one sensor.

    Their preprocessing, the models themselves and the fusion become one graph, which is compared with the separate run
    and timed beside it. A station uses it like any model; in a result it is one contributor.

    \b
    Examples:
      edge-sdk merge light.edge sound.edge --fusion log_opinion_pool -o both.edge
      edge-sdk merge accelerometer.edge gyroscope.edge --sensor imu --weight gyroscope=2 --auto -o motion.edge
    """
    try:
        from converters.merge.merging import merge_variants, write_merged
        from converters.merge.plan import make_plan
        from edge_sdk.contract.bundle import read_bundle
        from edge_sdk.contract.trust import Trust

        builds = {kind: _build(kind) for kind in formats or ("tflite", "onnx")}
    except ModuleNotFoundError as error:
        raise plugins.missing_extra("edge-sdk merge", error) from error
    opened = [read_bundle(path, Trust(allow_unsigned=True)) for path in bundles]
    plan = make_plan(opened, _fusion(fusion, weights, floor, temper), name=name or out.stem, sensor=sensor)
    manifest, files, reports = merge_variants(plan, builds, precision=precision)
    terminal.write_json(json_file, reports)
    if json_file != "-":
        _show(reports, plan.name)
    if auto and not all(report.is_faster for report in reports):
        terminal.warning(f"Not faster here: {out} was not written. Fuse the models in a stream, or leave --auto out.")
        return
    done = write_merged(out, manifest, files, key)
    if json_file != "-":
        signed = f"signed by {done.signer.key_id}" if done.signer else "not signed"
        click.echo(f"{done.path}: {done.digest}, {signed}; reads {plan.sensor}: {len(plan.channels)} channels")


def _build(kind: str) -> Any:
    if kind == "onnx":
        from converters.merge.onnx import build_onnx

        return build_onnx
    from converters.merge.tflite import build_tflite

    return build_tflite


def _fusion(method: str, weights: tuple[str, ...], floor: float, temper: float) -> Any:
    from converters.merge.fusion import Fusion

    pairs = [text.rpartition("=") for text in weights]
    try:
        given = {name: float(number) for name, _, number in pairs}
    except ValueError as error:
        raise ConversionError(f"--weight wants NAME=NUMBER; given is {', '.join(weights)}.") from error
    return Fusion(method=method, weights=given, floor=floor, temper=temper)  # type: ignore[arg-type]


def _show(reports: list[Report], name: str) -> None:
    terminal.table(
        f"{name}, beside its members one after the other",
        ("variant", "KiB", "members KiB", "worst difference", "same label", "merged ms", "separate ms", "ratio"),
        [
            (
                f"{each.precision} {each.format}", f"{each.bytes / 1024:.1f}", f"{each.members_bytes / 1024:.1f}",
                f"{each.worst:.2g}", f"{each.agreement:.0%}", f"{each.merged_ms:.4f}", f"{each.separate_ms:.4f}",
                f"{each.merged_ms / each.separate_ms:.2f}",
            )
            for each in reports
        ],
    )  # fmt: skip
