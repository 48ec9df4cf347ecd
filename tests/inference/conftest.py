"""A delegate for tests: compiled once, told by its options how to behave."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def delegate_library(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of the external TFLite delegate that `delegate.c` describes."""
    made = tmp_path_factory.mktemp("delegate") / "libtestdelegate.so"
    source = Path(__file__).with_name("delegate.c")
    command = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o", str(made), str(source)]
    subprocess.run(command, check=True)
    return str(made)
