"""Blocks: every fenced code block of a Markdown page, with the marks that stand above it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
LANGUAGES = {"conf", "console", "ini", "json", "mermaid", "python", "text", "toml", "yaml"}

_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>```+)(?P<language>\S*) *$")
_MARK = re.compile(r"^ *<!-- (?P<what>file|is|not run|output)(?:: (?P<value>.+?))? -->$")


@dataclass(frozen=True)
class Block:
    """One code block.

    Attributes:
        page: The page, relative to the repository.
        line: Line of its first content, from 1.
        language: What stands behind the fence.
        text: Its content, the fence's indent taken away.
        marks: What the comments directly above it say: ``file``, ``is``, ``not run``, ``output``.
    """

    page: str
    line: int
    language: str
    text: str
    marks: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """Every page whose blocks count."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [str(path.relative_to(ROOT)) for path in found]


def blocks(page: str) -> Iterator[Block]:
    """The code blocks of a page, in order; a fence that is not closed is an error."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    marks: dict[str, str] = {}
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if opened := _FENCE.match(line):
            indent, ticks, first, body = len(opened["indent"]), opened["ticks"], at + 1, []
            while at < len(lines) and lines[at].strip() != ticks:
                body.append(lines[at][indent:])
                at += 1
            assert at < len(lines), f"{page}:{first}: this fence is never closed"
            at += 1
            yield Block(page, first, opened["language"], "\n".join(body) + "\n", marks)
            marks = {}
        elif mark := _MARK.match(line):
            marks[mark["what"]] = mark["value"] or ""
        elif line.strip():
            assert not marks, f"{page}:{at}: a mark stands above no code block: {marks}"
