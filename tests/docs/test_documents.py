"""Every code block of every page is run or parsed: what the documents say is so."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from converters.recipe import Recipe
from edge_sdk.base import plugins
from edge_sdk.base.yaml import convert
from edge_sdk.config import station
from edge_sdk.contract import command, envelope, events, manifest, receipt
from edge_sdk.monitor.config import MonitorConfig
from tests.docs.blocks import LANGUAGES, ROOT, Block, blocks, pages
from tests.docs.stage import stage

# How many blocks of a page may be left unrun, and why.
NOT_RUN = {
    "docs/how-to/install-on-a-board.md": ("", 5),  # each with its own reason; `make arm64` runs the one that counts
    "docs/how-to/run-a-station-as-a-service.md": ("needs root on the Pi", 3),
    "docs/quickstart.md": ("sets the path of your own shell", 1),
    "docs/how-to/convert-your-model.md": ("needs PyTorch", 1),
}
STRUCTS: dict[str, Any] = {
    "Answer": command.Answer,
    "Birth": events.Birth,
    "BrokerConfig": station.BrokerConfig,
    "Command": command.Command,
    "FusionConfig": station.FusionConfig,
    "GovernorConfig": station.GovernorConfig,
    "Health": events.Health,
    "Manifest": manifest.Manifest,
    "MonitorConfig": MonitorConfig,
    "OutboxConfig": station.OutboxConfig,
    "Pack": envelope.Pack,
    "Receipt": receipt.Receipt,
    "ResultMessage": envelope.ResultMessage,
    "StationConfig": station.StationConfig,
    "StationEvent": events.StationEvent,
    "Status": events.Status,
    "StreamConfig": station.StreamConfig,
    "TrustConfig": station.TrustConfig,
}
BY_FILE = {"station.yaml": "StationConfig", "monitor.yaml": "MonitorConfig"}
_BEGINS_IN = re.compile(r"^<!-- begins in: (\S+) -->$", re.MULTILINE)
_TALKS = re.compile(r"^<!-- a station talks -->$", re.MULTILINE)
_LINK = re.compile(r"(?<!\!)\[[^\]]*\]\((?P<target>[^)\s]+)\)|!\[[^\]]*\]\((?P<picture>[^)\s]+)\)")


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Plays a page once, and gives the directory that it leaves."""
    done: dict[str, Path | BaseException] = {}

    def play(page: str) -> Path:
        if page not in done:
            try:
                done[page] = _play(page, tmp_path_factory.mktemp("page") / "work", play)
            except Exception as error:  # noqa: BLE001 (raised again for each page that begins in this one)
                done[page] = error
        left = done[page]
        if isinstance(left, BaseException):
            raise left
        return left

    return play


def _play(page: str, directory: Path, play: Callable[[str], Path]) -> Path:
    text = (ROOT / page).read_text(encoding="utf-8")
    if before := _BEGINS_IN.search(text):
        shutil.copytree(play(before[1]), directory, ignore=shutil.ignore_patterns(".broker", "state", "*.db*"))
    directory.mkdir(exist_ok=True)
    todo = [block for block in blocks(page) if "not run" not in block.marks]
    with stage(directory) as ours:
        if _TALKS.search(text):
            ours.start_station()
        elif any("127.0.0.1:1883" in block.text for block in todo):
            ours.start_broker()
        for block in todo:
            _check_data(block)
            ours.play(block)
    return directory


@pytest.mark.parametrize("page", pages())
def test_every_block_of_a_page_is_true(page: str, played: Callable[[str], Path]) -> None:
    played(page)


@pytest.mark.parametrize("page", pages())
def test_no_block_of_a_page_is_passed_over_in_silence(page: str) -> None:
    reason, allowed = NOT_RUN.get(page, ("", 0))
    left_out = [block for block in blocks(page) if "not run" in block.marks]

    assert {block.language for block in blocks(page)} <= LANGUAGES, "a language that no test knows"
    assert len(left_out) <= allowed
    assert all(block.marks["not run"].startswith(reason) for block in left_out)
    for block in blocks(page):
        if block.language == "text":  # for output and drawings alone
            assert not re.search(r"^\$ |^(import|from|pip|sudo) ", block.text, re.MULTILINE), block.place


@pytest.mark.parametrize("page", [*pages(), "CHANGELOG.md", "examples/README.md"])
def test_every_link_leads_somewhere(page: str) -> None:
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    for found in _LINK.finditer(text):
        target = found["target"] or found["picture"]
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), f"{page}: {target}"
        if anchor:
            assert anchor in _anchors(file), f"{page}: {target}"


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _check_data(block: Block) -> None:
    """A yaml or json block is read with the very struct that the programs read it with."""
    if block.language not in {"yaml", "json"}:
        return
    data = yaml.safe_load(block.text) if block.language == "yaml" else json.loads(block.text)
    name = block.marks.get("is") or BY_FILE.get(Path(block.marks.get("file", "")).name, "")
    if name == "Recipe":
        Recipe.parse(data)
        return
    if name == "Sensors":  # a part of station.yaml, each with the options of its own kind
        for settings in msgspec.convert(data, dict[str, station.SensorConfig]).values():
            kind = plugins.load("edge_sdk.sensors", settings.kind)
            convert(settings.options, kind.Options, source=block.place, directory=ROOT)
        return
    assert name in STRUCTS, f"{block.place}: say what it is, with <!-- is: NAME -->; {name!r} is not known"
    value = msgspec.convert(data, STRUCTS[name], str_keys=True, dec_hook=lambda kind, given: kind(given))
    if block.language == "json":
        back = json.loads(msgspec.json.encode(value))
        assert back == data, f"{block.place}: the page has fields that a {name} has not, or lacks some that it has"
