"""The Debian package: made here for a board, with nothing of this machine in it. `make arm64` installs it."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from deploy.arm64.host import HostError
from deploy.deb import build


@pytest.mark.slow
def test_a_package_for_a_board_holds_libraries_of_the_boards_kind_alone() -> None:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not on this machine")

    made = build("bookworm", "arm64")

    listed = subprocess.run(["dpkg-deb", "--contents", made], capture_output=True, text=True, check=True).stdout
    libraries = [line.split()[-1] for line in listed.splitlines() if ".so" in line]
    assert any("ai_edge_litert" in name for name in libraries)
    assert not [name for name in libraries if "x86_64" in name]
    assert "./usr/bin/edge-sdk -> /opt/edge-sdk/bin/edge-sdk" in listed
    needs = subprocess.run(["dpkg-deb", "--field", made, "Depends"], capture_output=True, text=True, check=True).stdout
    assert "python3 (>= 3.11), python3 (<< 3.12)" in needs


def test_an_unknown_suite_is_an_error_that_names_those_known() -> None:
    with pytest.raises(HostError, match="bookworm, trixie"):
        build("sarge")
