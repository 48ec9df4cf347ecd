"""A file is replaced whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_sdk.base.durable import replace_file


def test_a_file_is_made_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a"

    replace_file(path, b"one")
    replace_file(path, b"two")

    assert path.read_bytes() == b"two"
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_what_cannot_be_replaced_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "a"
    (path / "full").mkdir(parents=True)

    with pytest.raises(OSError, match="directory"):
        replace_file(path, b"one")

    assert [file.name for file in tmp_path.iterdir()] == ["a"]
