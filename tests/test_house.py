"""The house keeps its own rules: light imports, one file per library, sorted public names."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import edge_sdk

ROOT = Path(__file__).parent.parent
HEAVY = {
    "ai_edge_litert",
    "fastapi",
    "keras",
    "nicegui",
    "onnx",
    "onnxruntime",
    "pydantic",
    "sklearn",
    "starlette",
    "tensorflow",
    "tf2onnx",
    "torch",
    "uvicorn",
}
# Libraries that are vocabulary rather than parts: any file may use them.
EVERYWHERE = {"anyio", "click", "msgspec", "numpy", "rich", "typing_extensions"}
# Two uses of one library that have nothing in common, each with its own file.
APART = {("cryptography", "edge_sdk/monitor/argon2.py"), ("pyarrow", "edge_sdk/sensors/pyarrow.py")}


def _imported_by(statement: str) -> set[str]:
    code = f"import sys, json; {statement}; print(json.dumps(sorted(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return {name.partition(".")[0] for name in json.loads(answer.stdout.splitlines()[-1])}


def test_importing_edge_sdk_brings_nothing_heavy() -> None:
    assert not _imported_by("import edge_sdk") & (HEAVY | {"numpy", "click", "rich"})


def test_help_brings_nothing_heavy() -> None:
    statement = "from click.testing import CliRunner; from edge_sdk.cli import commands; " + (
        "assert CliRunner().invoke(commands, ['--help']).exit_code == 0"
    )

    assert not _imported_by(statement) & (HEAVY | {"numpy"})


def test_the_stations_program_brings_no_workshop_and_no_web() -> None:
    workshop_and_web = HEAVY - {"ai_edge_litert", "onnxruntime"}

    assert not _imported_by("import edge_sdk.station.station") & workshop_and_web


def test_public_names_are_sorted_and_there() -> None:
    assert edge_sdk.__all__ == sorted(edge_sdk.__all__)
    for name in edge_sdk.__all__:
        assert getattr(edge_sdk, name).__name__ == name


def test_each_library_is_imported_in_one_room_alone() -> None:
    """A library that is not vocabulary is named in one file, or in the files of one folder and those inside it."""
    homes: dict[str, set[str]] = {}
    for path in sorted((ROOT / "edge_sdk").rglob("*.py")):
        file = str(path.relative_to(ROOT))
        for library in _third_party(path) - EVERYWHERE:
            if (library, file) not in APART:
                homes.setdefault(library, set()).add(file)

    crowded = {library: files for library, files in homes.items() if len(files) > 1 and not _share_a_room(files)}
    assert not crowded


def _share_a_room(files: set[str]) -> bool:
    folders = {Path(file).parent for file in files}
    home = min(folders, key=lambda folder: len(folder.parts))
    return len(home.parts) > 1 and all(folder.is_relative_to(home) for folder in folders)


def _third_party(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - {"edge_sdk", "converters"}


@pytest.mark.parametrize("pattern", ["/work/", "/root/", "/home/", "pypi.org/simple", "files.pythonhosted"])
def test_no_file_speaks_of_the_machine_that_it_was_made_on(pattern: str) -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    names = [name for name in tracked.split("\0") if name and name != "tests/test_house.py"]
    guilty = [name for name in names if pattern.encode() in (ROOT / name).read_bytes()] if names else []

    assert not [name for name in guilty if (ROOT / name).suffix not in {".png", ".gif"}]
