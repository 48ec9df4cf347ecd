from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge_sdk.base.errors import ConfigError
from edge_sdk.boards.cli import boards
from edge_sdk.boards.profile import board_names, read_board

EXPECTED = {
    "android-gpu", "android-nnapi", "coral-dev-board", "generic-arm64", "generic-armv7", "generic-x86-64",
    "jetson-agx-orin", "jetson-nano", "jetson-orin-nano", "raspberry-pi-4", "raspberry-pi-5",
    "raspberry-pi-5-coral-usb", "raspberry-pi-zero-2-w",
}  # fmt: skip


def test_every_promised_board_is_there() -> None:
    assert set(board_names()) >= EXPECTED


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_profile_can_be_read_and_names_its_sources(name: str) -> None:
    board = read_board(name)

    assert board.name == name
    assert board.formats
    assert board.rules or board.formats == ("onnx",)
    assert "runtimes" in board.sources
    if board.accelerators:
        assert "accelerators" in board.sources


def test_a_board_that_does_not_exist_gets_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'jetson-orin-nano'"):
        read_board("jetson-orin-nona")


def test_a_file_of_ones_own_is_read_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "my-board.yaml"
    path.write_text(
        "title: Mine\narchitecture: aarch64\ncpu: A55\ncores: 4\ncpu_dot_product: true\nmemory_bytes: 1000\n"
        "runtimes: [{name: litert, version: '2.3.0'}]\nprecisions: [int8]\nsources: {}\n"
    )

    assert read_board(path).name == "my-board"
    assert read_board(str(path)).formats == ("tflite",)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("thermal_zone: []", "Did you mean 'thermal_zones'"),
        ("cores: four", "cores"),
        ("sources: {cpus: here}", "Did you mean 'cpu'"),
        ("runtimes: []", "no runtime"),
        ("cores: [", "not YAML"),
    ],
)
def test_a_wrong_profile_says_what_to_mend(tmp_path: Path, change: str, words: str) -> None:
    path = tmp_path / "mine.yaml"
    given = {
        "title": "Mine", "architecture": "aarch64", "cpu": "A55", "cores": "4", "cpu_dot_product": "true",
        "memory_bytes": "1000", "runtimes": "[{name: litert, version: '1'}]", "precisions": "[int8]", "sources": "{}",
    }  # fmt: skip
    key, _, value = change.partition(": ")
    path.write_text("".join(f"{name}: {text}\n" for name, text in {**given, key: value}.items()))

    with pytest.raises(ConfigError, match=words):
        read_board(path)


def test_the_command_lists_and_shows(tmp_path: Path) -> None:
    listed = CliRunner().invoke(boards, ["--json", f"{tmp_path}/all.json"], catch_exceptions=False)
    shown = CliRunner().invoke(
        boards, ["show", "coral-dev-board", "--json", f"{tmp_path}/one.json"], catch_exceptions=False
    )

    assert (listed.exit_code, shown.exit_code) == (0, 0)
    assert {board["name"] for board in json.loads((tmp_path / "all.json").read_text())} >= EXPECTED
    assert json.loads((tmp_path / "one.json").read_text())["accelerators"][0]["rules"] == "edgetpu"
    assert "Edge TPU" in shown.output
