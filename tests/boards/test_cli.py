"""What is known of boards, for people and for programs."""

from __future__ import annotations

import json

from click.testing import CliRunner

from edge_sdk.boards.cli import boards


def told(*arguments: str) -> str:
    return CliRunner().invoke(boards, list(arguments), catch_exceptions=False).stdout


def test_all_boards_are_listed_with_what_they_run() -> None:
    assert "raspberry-pi-5" in told()


def test_a_board_is_shown_with_the_source_of_each_fact() -> None:
    assert "architecture" in told("show", "coral-dev-board")


def test_a_program_reads_nothing_but_json() -> None:
    assert any(board["name"] == "jetson-orin-nano" for board in json.loads(told("--json", "-")))
    assert json.loads(told("show", "coral-dev-board", "--json", "-"))["name"] == "coral-dev-board"
