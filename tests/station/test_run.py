"""A station's plain command line is read without click, and says what click would say."""

from __future__ import annotations

import math
from typing import Any

import click
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge_sdk.station.cli import station
from edge_sdk.station.run import Run

WORDS = st.one_of(
    st.sampled_from(
        ["--drain-s", "--log-level", "--log-json", "--json", "--help", "-h", "--", "-", "--drain-s=2", "--jso", "info"]
    ),
    st.sampled_from(["station.yaml", "0", "-1", "1.5", "1e3", "1_0", "nan", "debug", "loud", "null", "true", "", " "]),
)


def as_click_reads(arguments: list[str]) -> dict[str, Any] | None:
    """The parameters; None = it is not to be run, but told what is wrong, or helped."""
    command = station.commands["run"]
    try:
        with command.make_context("run", list(arguments)) as context:
            return dict(context.params)
    except (click.ClickException, click.exceptions.Exit):
        return None


@given(st.lists(WORDS, max_size=6))
@example(["a.yaml", "--drain-s", "0", "--log-json", "--json", "-", "--log-level", "error"])
@example(["a.yaml", "--json", "null"])
@example(["a.yaml", "--json"])
def test_what_is_read_without_click_is_what_click_reads(arguments: list[str]) -> None:
    read = Run.plain(arguments)

    if read is not None:
        asked = as_click_reads(arguments)
        assert asked is not None
        assert {name: getattr(read, name) for name in asked} == asked or math.isnan(read.drain_s)


@pytest.mark.parametrize(
    ("line", "run"),
    [
        ("station.yaml", Run("station.yaml")),
        ("--drain-s 0 station.yaml --log-json", Run("station.yaml", drain_s=0.0, log_json=True)),
        ("s.yaml --json - --log-level debug", Run("s.yaml", log_level="debug", json_file="-")),
    ],
)
def test_a_plain_line_is_read(line: str, run: Run) -> None:
    assert Run.plain(line.split()) == run


@pytest.mark.parametrize(
    "line", ["", "--help", "a.yaml b.yaml", "a.yaml --drain-s", "a.yaml --drain-s soon", "a --x 1"]
)
def test_what_is_not_plain_is_left_to_click(line: str) -> None:
    assert Run.plain(line.split()) is None


def test_what_is_left_out_is_what_click_leaves_out() -> None:
    asked = as_click_reads(["station.yaml"])

    assert asked is not None
    assert Run(**asked) == Run("station.yaml")
