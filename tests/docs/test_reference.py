"""The reference says what the code says."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.docs.blocks import ROOT

_COUNTED = re.compile(r"""(?:counters|counted|_counted)\[f?"([a-z_.{}]+[^"]*)"\]|\.count\(f?"([^"]+)\"""")


def test_pages_made_from_the_types_are_fresh() -> None:
    done = subprocess.run(
        [sys.executable, "docs/reference/generate.py", "--check"], capture_output=True, text=True, cwd=ROOT, check=False
    )

    assert done.returncode == 0, done.stderr


def _word(expression: re.Match[str]) -> str:
    """``{prediction.state.value}`` is STATE, ``{sensor.name}`` is SENSOR."""
    parts = [part for part in expression[1].split(".") if part not in {"name", "value"}]
    return parts[-1].upper()


def _counters() -> set[str]:
    """Names that a station's code counts under; what is filled in at run time is a word in capitals."""
    found = set()
    for room in ("runtime", "windowing", "mqtt", "station", "sensors"):
        for path in sorted((ROOT / "edge_sdk" / room).glob("*.py")):
            for one, other in _COUNTED.findall(path.read_text(encoding="utf-8")):
                found.add(re.sub(r"\{([^}]*)\}", _word, one or other))
    return found


@pytest.mark.parametrize("name", sorted(_counters()))
def test_every_counter_of_a_station_is_described(name: str) -> None:
    assert f"`{name}`" in (ROOT / "docs/reference/counters.md").read_text(encoding="utf-8")


def test_every_counter_of_the_monitor_is_described() -> None:
    from edge_sdk.monitor.store.views import Counters

    page = (ROOT / "docs/reference/counters.md").read_text(encoding="utf-8")

    assert not [name for name in Counters.__struct_fields__ if f"`{name}`" not in page]


def test_the_floors_are_drawn_as_they_are_checked() -> None:
    contract = (ROOT / ".importlinter").read_text(encoding="utf-8").partition("layers =\n")[2].partition("\n\n")[0]
    drawing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("```text\n")[2].partition("```")[0]
    floors = [re.findall(r"edge_sdk\.(\w+)", line) for line in contract.splitlines()]
    drawn = [set(re.findall(r"\w+", line.replace("cli.py", "cli"))) for line in drawing.splitlines()]

    assert all(set(floor) <= words for floor, words in zip(floors, drawn, strict=False))
    assert len(floors) > 5


def test_a_decision_says_context_options_choice_and_cost() -> None:
    pages = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
    numbers = [page.name[:4] for page in pages]

    assert len(set(numbers)) == len(numbers)
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for words in (("**Context",), ("**Options",), ("**Choice",), ("**What it costs", "**Cost")):
            assert any(word in text for word in words), f"{page.name} has no {words[0]}**"


def test_the_glossary_knows_the_words_of_the_code() -> None:
    from edge_sdk.contract.prediction import ContributorState
    from edge_sdk.contract.topics import Kind

    page = (ROOT / "docs/concepts.md").read_text(encoding="utf-8").lower()
    reserved = {Kind.CMD, Kind.ACK, Kind.RESULT}

    assert all(f"`{state.value}`" in page for state in ContributorState)
    assert all(kind.value in page for kind in Kind if kind not in reserved)
