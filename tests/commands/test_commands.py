from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge_sdk.base.errors import BundleFormatError, TrustError
from edge_sdk.base.plugins import found
from edge_sdk.cli import GROUP, commands
from edge_sdk.contract.trust import PublicKey, SigningKey
from tests.models import tiny_bundle

ROOT = Path(__file__).parent.parent.parent


def edge_sdk(*words: str) -> Result:
    return CliRunner().invoke(commands, list(words))


@pytest.mark.parametrize("command", sorted(found(GROUP)))
def test_every_command_has_help_with_examples(command: str) -> None:
    answer = edge_sdk(command, "--help")

    assert answer.exit_code == 0
    assert "Examples:" in answer.output
    assert f"\n    edge-sdk {command}" in answer.output, "an example must stand on its own line"


def test_the_help_of_all_shows_each_example_on_its_own_line() -> None:
    assert "\n    edge-sdk convert model.keras" in edge_sdk("--help").output


def test_an_unknown_command_offers_the_nearest() -> None:
    answer = edge_sdk("inspct")

    assert answer.exit_code == 2
    assert "Did you mean 'inspect'" in answer.output


def test_a_key_is_made_listed_and_signs(tmp_path: Path) -> None:
    made = edge_sdk("keys", "new", "workshop", "--directory", str(tmp_path), "--json", "-")
    listed = edge_sdk("keys", "list", "--directory", str(tmp_path), "--json", "-")

    assert json.loads(made.output)["key_id"] == json.loads(listed.output)[0]["key_id"]
    assert SigningKey.read(tmp_path / "workshop").public == PublicKey.read(tmp_path / "workshop.pub")
    assert "PRIVATE" not in made.output


def test_inspect_shows_what_a_bundle_holds(tmp_path: Path) -> None:
    key = SigningKey.new()
    key.write(tmp_path / "k")
    bundle = tiny_bundle(tmp_path / "tiny.edge", key=key)

    shown = edge_sdk("inspect", str(bundle.path))
    data = json.loads(edge_sdk("inspect", str(bundle.path), "--key", str(tmp_path / "k.pub"), "--json", "-").output)

    assert shown.exit_code == 0, shown.output
    assert all(word in shown.output for word in ("classification", "low, middle, high", "float32.onnx", bundle.digest))
    assert (data["digest"], data["signed_by"], data["trusted"]) == (bundle.digest, key.public.key_id, True)
    assert data["manifest"]["labels"] == ["low", "middle", "high"]


def test_inspect_refuses_a_stranger_and_a_stranger_to_zip(tmp_path: Path) -> None:
    SigningKey.new().write(tmp_path / "other")
    bundle = tiny_bundle(tmp_path / "tiny.edge", key=SigningKey.new())
    (tmp_path / "text.edge").write_text("no bundle")

    assert isinstance(edge_sdk("inspect", str(bundle.path), "--key", str(tmp_path / "other.pub")).exception, TrustError)
    assert isinstance(edge_sdk("inspect", str(tmp_path / "text.edge")).exception, BundleFormatError)
