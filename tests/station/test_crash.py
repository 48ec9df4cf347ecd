"""What a run that did not end in order leaves behind."""

from __future__ import annotations

import faulthandler
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from edge_sdk.base.clock import ManualClock
from edge_sdk.station.crash import BlackBox, Ending

RUN = """
import sys, time
from pathlib import Path
from edge_sdk.base.clock import SystemClock
from edge_sdk.station.crash import BlackBox
box = BlackBox(Path(sys.argv[1]), clock=SystemClock())
box.open()
{then}
"""


@pytest.fixture(autouse=True)
def _pytests_own_faulthandler() -> Iterator[None]:
    yield
    faulthandler.enable()


def run(directory: Path, then: str) -> int:
    """One run in a process of its own."""
    done = subprocess.run([sys.executable, "-c", RUN.format(then=then), str(directory)], capture_output=True)
    return done.returncode


@contextmanager
def next_run(directory: Path) -> Iterator[tuple[BlackBox, Ending | None]]:
    """A run in this process, and what it says of the one before."""
    box = BlackBox(directory, clock=ManualClock())
    ending = box.open()
    try:
        yield box, ending
    finally:
        box.close()


def ending_of_last_run(directory: Path) -> Ending | None:
    with next_run(directory) as (_, ending):
        return ending


async def fail(*errors: Exception) -> None:
    async def one(error: Exception) -> None:
        raise error

    async with anyio.create_task_group() as group:
        for error in errors:
            group.start_soon(one, error)


def test_a_first_run_and_an_orderly_one_leave_nothing_to_say(tmp_path: Path) -> None:
    assert run(tmp_path / "state", "box.close()") == 0

    assert ending_of_last_run(tmp_path / "state") is None
    assert not list(tmp_path.rglob("crash-*"))


def test_a_failure_is_told_with_its_report(tmp_path: Path) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - a group
        anyio.run(fail, ZeroDivisionError("by zero"), KeyError("gone"))
    with next_run(tmp_path) as (box, _):
        box.record(caught.value, counters={"results.made": 7}, lines=["sensor turns", "bridge backs off"])

    ending = ending_of_last_run(tmp_path)

    assert ending is not None
    assert (ending.how, ending.message) == ("crashed", "The last run failed: ZeroDivisionError: by zero")
    report = json.loads((tmp_path / ending.report).read_text())
    assert [text.splitlines()[-1] for text in report["errors"]] == ["ZeroDivisionError: by zero", "KeyError: 'gone'"]
    assert report["log"] == ["sensor turns", "bridge backs off"]
    assert report["counters"] == {"results.made": 7}


def test_a_library_that_fails_leaves_what_every_thread_was_doing(tmp_path: Path) -> None:
    assert run(tmp_path, "import ctypes; ctypes.string_at(0)") == -signal.SIGSEGV

    ending = ending_of_last_run(tmp_path)

    assert ending is not None
    assert ending.how == "native"
    assert "Segmentation fault" in ending.message
    assert "ctypes" in json.loads((tmp_path / ending.report).read_text())["trace"]


def test_a_watchdogs_abort_says_where_it_hung(tmp_path: Path) -> None:
    assert run(tmp_path, "def hang(): import os; os.abort()\nhang()") == -signal.SIGABRT

    ending = ending_of_last_run(tmp_path)

    assert ending is not None
    assert ending.how == "native"
    assert "in hang" in json.loads((tmp_path / ending.report).read_text())["trace"]


def test_a_kill_is_told_from_a_power_cut_by_the_boot(tmp_path: Path) -> None:
    assert run(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)") == -signal.SIGKILL
    ending = ending_of_last_run(tmp_path)
    assert ending is not None
    assert ending.how == "killed"

    marker = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**marker, "boot": "another", "ended": ""}))
    ending = ending_of_last_run(tmp_path)
    assert ending is not None
    assert ending.how == "power"


@pytest.mark.parametrize("healthy", [True, False])
def test_bad_starts_are_counted_until_one_is_healthy(tmp_path: Path, healthy: bool) -> None:
    for _ in range(3):
        with next_run(tmp_path):
            pass
    if healthy:
        with next_run(tmp_path) as (box, _):
            box.healthy()

    with next_run(tmp_path) as (box, _):
        assert box.bad_starts == (1 if healthy else 4)


def test_a_few_reports_are_kept(tmp_path: Path) -> None:
    clock = ManualClock()
    for _ in range(9):
        box = BlackBox(tmp_path, clock=clock)
        box.open()
        box.record(ValueError("again"), counters={}, lines=[])
        box.close()
        clock.advance(60)

    assert len(list(tmp_path.glob("crash-*.json"))) == 5


def test_a_marker_that_cannot_be_read_is_no_reason_not_to_start(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{")

    assert ending_of_last_run(tmp_path) is None
