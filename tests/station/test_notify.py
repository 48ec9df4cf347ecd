"""What systemd is told, over a real datagram socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_sdk.station.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """What listens where systemd would, and its address as systemd writes it."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@edge-sdk-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name[1:] if name.startswith("@") else name)
        listener.settimeout(5.0)
        yield listener, name


def test_systemd_hears_every_state(manager: tuple[socket.socket, str]) -> None:
    listener, address = manager
    notifier = Notifier.of({"NOTIFY_SOCKET": address})

    notifier.ready()
    notifier.alive()
    notifier.status("3 sensors, 1 lost")
    notifier.status("3 sensors, 1 lost")
    notifier.reloading()
    notifier.stopping(within_s=8.0)

    heard = [listener.recv(4096).decode() for _ in range(5)]
    assert heard[:3] == ["READY=1", "WATCHDOG=1", "STATUS=3 sensors, 1 lost"]
    assert heard[3].startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert heard[4] == "STOPPING=1\nEXTEND_TIMEOUT_USEC=8000000"


def test_without_systemd_nothing_is_said() -> None:
    notifier = Notifier.of({})

    notifier.ready()

    assert notifier.watchdog_s is None


def test_a_manager_that_is_away_stops_nobody(tmp_path: Path) -> None:
    Notifier(str(tmp_path / "nobody")).ready()


def test_the_watchdogs_time_is_read_unless_it_is_for_another_process() -> None:
    mine = {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}

    assert Notifier.of(mine).watchdog_s == 30.0
    assert Notifier.of({**mine, "WATCHDOG_PID": "1"}).watchdog_s is None
    assert Notifier.of({"WATCHDOG_USEC": "soon"}).watchdog_s is None
