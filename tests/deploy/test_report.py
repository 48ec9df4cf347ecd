"""What is kept in the page: where its marks are, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.arm64.host import HostError
from deploy.arm64.report import PAGE, keep
from deploy.arm64.rootfs import CPUS, SUITES

TEXT = "Before.\n\n<!-- kept: bookworm -->\n\nold\n\n<!-- end of bookworm -->\n\nAfter.\n"


def test_what_was_kept_is_replaced_and_the_rest_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(TEXT)

    keep("bookworm", r"new \1 text", page)
    keep("bookworm", "newer", page)

    assert page.read_text() == TEXT.replace("old", "newer")


def test_a_page_without_the_marks_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(TEXT)

    with pytest.raises(HostError, match="trixie"):
        keep("trixie", "new", page)


@pytest.mark.parametrize("name", [*SUITES, "image"])
def test_the_page_holds_what_was_seen_and_it_held(name: str) -> None:
    text = PAGE.read_text(encoding="utf-8")

    kept = text.partition(f"<!-- kept: {name} -->")[2].partition(f"<!-- end of {name} -->")[0]

    assert "Everything held." in kept


def test_an_emulated_processor_shows_a_block_for_each_core() -> None:
    for cpu in CPUS:
        blocks = cpu.cpuinfo().strip().split("\n\n")

        assert blocks[0].startswith("processor\t: 0\n")
        assert all(f"CPU part\t: {cpu.part}" in block for block in blocks)
