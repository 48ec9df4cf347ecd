"""A medium that fails: I/O errors, a filesystem turned read-only, no space, reads that fail. Nothing accepted is lost.

strace makes system calls of the station fail, from its n-th on for a while, as the kernel would.
"""

from __future__ import annotations

import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from edge_sdk.base.clock import ManualClock
from edge_sdk.base.errors import OutboxError
from edge_sdk.outbox.sqlite import SqliteOutbox
from tests.brokers import mosquitto
from tests.faults.scene import Scene, wait_for
from tests.outbox.test_outbox import result, seqs

_WRITES = "pwrite64,fsync,fdatasync,ftruncate"


def failing(calls: str, error: str, first: int, last: int) -> list[str]:
    """What a command begins with so that these calls fail; its process id stays its own."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: apt-get install strace")
    tried = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"strace may not trace here: {tried.stderr.strip()[:200]}")
    inject = f"inject={calls}:error={error}:when={first}..{last}"
    return ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", "-e", inject]


def run(
    directory: Path, calls: str, error: str, *, first: int, last: int, until: str = ""
) -> tuple[int, int, int, str]:
    """A station on such a medium until it said something; then accepted, stored, given up by policy, what it said."""
    log = directory / "feeder.log"
    with ExitStack() as stack:
        broker = stack.enter_context(mosquitto(directory / "broker"))
        scene = Scene(directory, broker.url, field=failing(calls, error, first, last))
        stack.enter_context(scene.collector)
        stack.enter_context(scene.feeder)
        wait_for(lambda: scene.count() > 20)
        wait_for(lambda: until in log.read_text(errors="replace"), 60.0)
        mark = scene.count_accepted()
        wait_for(lambda: scene.count_accepted() > mark + 200)
        accepted, stored = scene.finish()
        return accepted, stored, scene.given_up(), log.read_text(errors="replace")


def test_a_medium_that_refuses_to_write_for_a_while_costs_what_is_refused_and_no_more(tmp_path: Path) -> None:
    accepted, stored, given_up, _ = run(tmp_path, _WRITES, "EROFS", first=150, last=190, until="disk I/O error")

    assert accepted == stored
    assert given_up == 0


@pytest.mark.slow
@pytest.mark.parametrize("error", ["EIO", "EROFS", "ENOSPC", "EDQUOT"])
@pytest.mark.parametrize("calls", ["pwrite64", "fsync,fdatasync", "ftruncate", _WRITES, "pread64", "openat"])
@pytest.mark.parametrize(("first", "last"), [(60, 61), (150, 190), (100, 400)])
def test_the_long_form_of_a_medium_that_fails(tmp_path: Path, error: str, calls: str, first: int, last: int) -> None:
    if calls == "openat":  # also how the interpreter starts: late enough
        first, last = 4000, 4000 + last - first
    accepted, stored, given_up, said = run(tmp_path, calls, error, first=first, last=last)
    print(
        f"{calls} {error} {first}..{last}: {accepted} accepted, {stored} stored, {given_up} given up,"
        f" {said.count('refused')} refusals"
    )

    assert accepted - stored <= given_up
    assert not given_up or error in {"ENOSPC", "EDQUOT"}, "the oldest are given up on a full disk alone"


def test_a_directory_that_cannot_be_written_is_told_at_the_start(tmp_path: Path) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(place)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no filesystem can be mounted here: {mounted.stderr.strip()}")
    try:
        outbox = SqliteOutbox.open(place / "outbox.db", clock=ManualClock())
        outbox.put([result(1)])
        outbox.close()
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        with pytest.raises(OutboxError, match=r"Read-only file system|readonly"):
            SqliteOutbox.open(place / "outbox.db", clock=ManualClock())

        subprocess.run(["mount", "-o", "remount,rw", str(place)], check=True)
        outbox = SqliteOutbox.open(place / "outbox.db", clock=ManualClock())
        assert seqs(outbox) == [1]
        outbox.close()
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
