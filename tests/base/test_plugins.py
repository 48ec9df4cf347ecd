"""Plug-ins are found where pip has put them, ours without a look at all others."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

from edge_sdk.base import plugins
from edge_sdk.base.errors import MissingExtraError, PluginError
from tests.station.plugin import FAILING, install


def said(code: str, environment: dict[str, str] | None = None) -> list[str]:
    """What a fresh process says."""
    command = [sys.executable, "-c", f"import sys; from edge_sdk.base import plugins; {code}"]
    given = {**os.environ, **(environment or {})}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=given).stdout.split()


def test_each_of_our_entry_points_is_found_where_it_is() -> None:
    ours = [point for point in distribution("edge-sdk").entry_points if point.group != "console_scripts"]

    assert len(ours) > 30
    for point in ours:
        assert plugins.found(point.group)[point.name] == point.value


def test_ours_is_loaded_without_a_look_at_the_metadata_of_all_packages() -> None:
    code = "print(plugins.load('edge_sdk.preprocess', 'clip').__name__, *sys.modules)"

    kind, *modules = said(code)

    assert kind == "Clip"
    assert "edge_sdk.inference.preprocess" in modules
    assert "importlib.metadata" not in modules


def test_a_plug_in_of_another_package_is_loaded(tmp_path: Path) -> None:
    environment = install(tmp_path, "edge_sdk.fusers", "failing", FAILING, "Failing")
    code = "print(plugins.load('edge_sdk.fusers', 'failing').name, *plugins.found('edge_sdk.fusers'))"

    name, *names = said(code, environment)

    assert name == "failing"
    assert {"failing", "log_opinion_pool"} <= set(names)


def test_a_name_of_ours_is_ours_whoever_else_has_it(tmp_path: Path) -> None:
    environment = install(tmp_path, "edge_sdk.fusers", "vote", FAILING, "Failing")
    code = "print(plugins.load('edge_sdk.fusers', 'vote').__module__, plugins.found('edge_sdk.fusers')['vote'])"

    assert said(code, environment) == ["edge_sdk.fusion.voting", "edge_sdk.fusion.voting:Vote"]


def test_a_name_that_nobody_has_gets_the_nearest() -> None:
    with pytest.raises(PluginError, match=r"'vot' is not among the fusers\. Did you mean 'vote'"):
        plugins.load("edge_sdk.fusers", "vot")


def test_a_plug_in_whose_library_is_missing_says_which_extra_brings_it(tmp_path: Path) -> None:
    environment = install(tmp_path, "edge_sdk.backends", "old", "import tflite_runtime.nowhere\n", "Old")
    told = """
try:
    plugins.load("edge_sdk.backends", "old")
except Exception as error:
    print(type(error).__name__)
"""

    assert said(f"exec({told!r})", environment) == [MissingExtraError.__name__]
