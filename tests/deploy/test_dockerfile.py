"""``Dockerfile.arm64`` keeps its promises as far as its text shows them; `make dockerfile-arm64` builds and runs it."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatch
from pathlib import Path

from click.testing import CliRunner

from edge_sdk.base.errors import TransportError
from edge_sdk.cli import commands
from tests.brokers import free_port

ROOT = Path(__file__).parent.parent.parent
LINES = re.sub(r"\\\n", " ", (ROOT / "Dockerfile.arm64").read_text(encoding="utf-8")).splitlines()


def _words(instruction: str) -> list[str]:
    return [line.partition(" ")[2].strip() for line in LINES if line.startswith(f"{instruction} ")]


def test_its_base_is_an_argument_and_its_stages_are_for_arm64() -> None:
    assert _words("ARG")[0].startswith("BASE_IMAGE=")
    stages = _words("FROM")
    assert len(stages) == 2
    assert all(stage.startswith("--platform=linux/arm64 ${BASE_IMAGE}") for stage in stages)


def test_what_is_fetched_is_pinned_by_hash() -> None:
    installs = [part for run in _words("RUN") for part in run.split("&&") if " install --quiet" in part]

    assert len(installs) == 3
    assert all("--require-hashes" in part or "--no-deps" in part for part in installs)
    assert "litert.lock" in " ".join(installs)
    assert not re.search(r"onnx|tflite", " ".join(installs))


def test_it_does_not_run_as_root() -> None:
    after = LINES[max(number for number, line in enumerate(LINES) if line.startswith("FROM ")) :]
    user = next(line for line in after if line.startswith("USER "))

    assert user == "USER edge"


def test_its_command_is_one_of_ours() -> None:
    command = [*json.loads(_words("ENTRYPOINT")[0])[1:], *json.loads(_words("CMD")[0])]

    assert CliRunner().invoke(commands, [*command[:2], "--help"]).exit_code == 0


def test_its_health_is_asked_of_the_station() -> None:
    [check] = _words("HEALTHCHECK")
    command = json.loads(check.partition("CMD ")[2])

    assert command == ["edge-sdk", "station", "status"]
    nobody_listens = CliRunner().invoke(commands, [*command[1:], str(free_port())], standalone_mode=False)
    assert isinstance(nobody_listens.exception, TransportError)


def test_what_it_copies_is_there_and_not_ignored() -> None:
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"]
    for words in _words("COPY"):
        if not words.startswith("--from"):
            for name in words.split()[:-1]:
                assert (ROOT / name).exists()
                assert any(fnmatch(name, pattern) for pattern in let_in), f"{name} is kept from the build"
