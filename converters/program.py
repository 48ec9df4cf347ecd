"""Other programs that a conversion asks: started, waited for, and heard."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from edge_sdk.base.errors import ConversionError


def ask(command: Sequence[str], *, timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and keep what it says; how it ended is for the caller to judge.

    Args:
        command: Path of the program, and its arguments.
        timeout_s: So long it may take.

    Raises:
        ConversionError: It cannot be started, or does not end in time.
    """
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConversionError(f"{command[0]} does not work: {error}. Mend it, or take it away.") from error


def last_words(done: subprocess.CompletedProcess[str], lines: int = 1) -> str:
    """The last lines that it said, as one."""
    words = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return " ".join(words[-lines:]) or "not a word"
