"""``edge-sdk inspect``: what a bundle is, and whether it is whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_sdk.base import terminal

if TYPE_CHECKING:
    from edge_sdk.contract.bundle import Bundle


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--key", "key_files", multiple=True, type=click.Path(path_type=Path), help="Public key (.pub) to trust.")
@terminal.json_option
def inspect(bundle: Path, key_files: tuple[Path, ...], json_file: str | None) -> None:
    """Verify BUNDLE and show what it holds.

    Digests and signature are always verified. With --key, the signer must be that key.

    \b
    Examples:
      edge-sdk inspect light.edge
      edge-sdk inspect light.edge --key workshop.pub --json -
    """
    from edge_sdk.contract.bundle import read_bundle
    from edge_sdk.contract.trust import Trust

    opened = read_bundle(bundle, Trust.of(key_files, allow_unsigned=not key_files))
    record = _record(opened, trusted=bool(key_files))
    terminal.write_json(json_file, record)
    if json_file != "-":
        _show(opened, record)


def _record(bundle: Bundle, *, trusted: bool) -> dict[str, Any]:
    return {
        "path": str(bundle.path),
        "digest": bundle.digest,
        "signed_by": bundle.signer.key_id if bundle.signer else None,
        "trusted": trusted,
        "manifest": bundle.manifest,
    }


def _show(bundle: Bundle, record: dict[str, Any]) -> None:
    manifest = bundle.manifest
    signed = f"signed by {record['signed_by']}" if bundle.signer else "not signed"
    answer = ", ".join(manifest.labels) or manifest.unit or "a number"
    window = manifest.windowing
    click.echo(f"{manifest.name}: {manifest.task} → {answer}")
    click.echo(
        f"{bundle.digest}, every digest verified, {signed}{'' if record['trusted'] else ' (not checked: --key)'}"
    )
    channels = ", ".join(f"{channel.name} {channel.unit}".strip() for channel in manifest.channels)
    click.echo(f"reads {manifest.sensor}: {channels}")
    click.echo(
        f"window {window.length} samples at {window.rate_hz:g} Hz ({window.length / window.rate_hz:g} s), "
        f"a new one every {window.stride / window.rate_hz:g} s, at least {window.minimum_coverage:.0%} measured"
    )
    click.echo(f"preprocessing: {', '.join(step.kind for step in manifest.preprocess) or 'none'}")
    rows = []
    for variant in manifest.variants:
        figures = ", ".join(
            f"{m.name} {m.value:.3f} [{m.low:.3f}, {m.high:.3f}], float {m.float_value:.3f}" for m in variant.metrics
        )
        runs = ", ".join(f"{name} ≥ {lowest}" for name, lowest in variant.runtimes.items()) or "not stated"
        rows.append([variant.file, manifest.files[variant.file].bytes, variant.precision, runs, figures or "none"])
    terminal.table("Variants", ["file", "bytes", "precision", "runs on", "measured"], rows)
