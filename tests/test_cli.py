"""The outermost of all: what went wrong is told in a line, whatever it came wrapped in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from edge_sdk.base.errors import ConfigError, TransportError
from edge_sdk.cli import tell


async def fail(*errors: Exception) -> None:
    """Fail as tasks do that run together."""

    async def one(error: Exception) -> None:
        raise error

    async with anyio.create_task_group() as outer, anyio.create_task_group() as group:
        assert outer
        for error in errors:
            group.start_soon(one, error)


def grouped(*errors: Exception) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - its kind depends on what is in it
        anyio.run(fail, *errors)
    return caught.value


def test_an_error_that_tasks_wrapped_is_one_line_and_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    code = tell(grouped(ConfigError("The bell is missing. Hang it up.")))

    assert code == 78
    assert capsys.readouterr().err == "error: The bell is missing. Hang it up.\n"


def test_each_error_of_a_group_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    code = tell(grouped(TransportError("No wire."), TransportError("No wire."), ConfigError("No bell.")))

    assert code in {69, 78}
    assert sorted(capsys.readouterr().err.splitlines()) == ["error: No bell.", "error: No wire."]


def test_a_fault_of_ours_keeps_its_traceback_and_says_that_it_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    code = tell(grouped(ZeroDivisionError("division by zero"), ConfigError("No bell.")))

    told = capsys.readouterr().err
    assert code == 70
    assert "error: No bell." in told
    assert "test_cli.py" in told
    assert "ZeroDivisionError: division by zero" in told
    assert "This is a fault in edge-sdk" in told
    assert "ExceptionGroup" not in told


def test_an_interrupt_is_no_fault() -> None:
    assert tell(KeyboardInterrupt()) == 130


def test_a_reader_that_goes_away_is_no_fault(tmp_path: Path) -> None:
    command = f"{sys.executable} -m edge_sdk.cli boards --json - | head -c 1"

    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)

    assert "Traceback" not in done.stderr
