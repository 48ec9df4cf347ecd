from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from edge_sdk.base.errors import ConversionError
from edge_sdk.cli import commands
from edge_sdk.contract.bundle import read_bundle
from edge_sdk.contract.trust import SigningKey, Trust
from edge_sdk.inference.model import Model
from tests.models import tiny_bundle


def merge(directory: Path, *options: str) -> Result:
    bundles = [str(tiny_bundle(directory / f"{name}.edge", name=name, seed=i).path) for i, name in enumerate("ab")]
    return CliRunner().invoke(commands, ["merge", *bundles, "-o", str(directory / "both.edge"), *options])


def test_two_bundles_become_one_that_is_signed_and_opens(tmp_path: Path) -> None:
    SigningKey.new().write(tmp_path / "k")

    done = merge(tmp_path, "--fusion", "log_opinion_pool", "--weight", "a=2", "--sign", str(tmp_path / "k"))

    assert done.exit_code == 0, done.output
    bundle = read_bundle(tmp_path / "both.edge", Trust.of((tmp_path / "k.pub",), allow_unsigned=False))
    assert bundle.manifest.name == "both"
    assert bundle.manifest.provenance["fusion"]["weights"] == {"a": 2.0}
    Model.open(bundle).close()


def test_what_was_compared_and_timed_is_given_as_json(tmp_path: Path) -> None:
    done = merge(tmp_path, "--format", "onnx", "--json", "-")

    [report] = json.loads(done.stdout)
    assert (report["format"], report["agreement"]) == ("onnx", 1.0)
    assert report["worst"] < 1e-5
    assert report["merged_ms"] > 0
    assert report["separate_ms"] > 0


def test_auto_writes_where_merging_is_faster(tmp_path: Path) -> None:
    """Two tiny models cost three numpy passes and a call more than one: it is always faster."""
    done = merge(tmp_path, "--auto")

    assert done.exit_code == 0
    assert (tmp_path / "both.edge").exists() != ("was not written" in done.stderr)


def test_a_weight_that_is_no_number_is_refused(tmp_path: Path) -> None:
    assert isinstance(merge(tmp_path, "--weight", "a=much").exception, ConversionError)
    assert not (tmp_path / "both.edge").exists()
