"""The lines of the how-to that `make arm64` runs inside."""

from __future__ import annotations

import subprocess

from deploy.arm64.wheels import HOW_TO, lines_of


def test_the_how_to_has_the_lines_that_are_run_inside() -> None:
    lines = lines_of(HOW_TO, "make arm64 runs it inside")

    assert any("--require-hashes --requirement litert.lock" in line for line in lines)
    assert lines[-1] == "edge-sdk doctor"
    subprocess.run(["bash", "-n", "-c", "\n".join(lines)], check=True)
