"""Brokers for tests: a real mosquitto on a free loopback port, that can be killed and started again."""

from __future__ import annotations

import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

_DEADLINE_S = 60.0


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, below those that Linux gives to connections that go out meanwhile."""
    while True:
        port = secrets.choice(range(10_000, 30_000))
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@dataclass
class RunningBroker:
    """A mosquitto process.

    Attributes:
        directory: Where its configuration, log and store are.
        port: Its port on 127.0.0.1; the same after `restart`.
    """

    directory: Path
    port: int
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start, and wait until the port answers."""
        with (self.directory / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["mosquitto", "-c", str(self.directory / "mosquitto.conf")], stdout=log, stderr=log
            )
        deadline = time.monotonic() + _DEADLINE_S
        while True:
            with socket.socket() as probe:
                probe.settimeout(1.0)
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError((self.directory / "mosquitto.log").read_text(errors="replace"))
            time.sleep(0.005)

    def _end(self, sign: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(sign)
            self._process.wait(_DEADLINE_S)
            self._process = None

    def kill(self) -> None:
        """End it with -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Kill it with -9 and start it again on the same port; without persistence it forgets everything."""
        self.kill()
        self.start()


@contextmanager
def mosquitto(
    directory: Path, port: int | None = None, persistence: bool = False, extra: str = "", anonymous: bool = True
) -> Iterator[RunningBroker]:
    """A mosquitto on a loopback port; `extra` are more lines of its configuration."""
    if shutil.which("mosquitto") is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    directory.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    lines = [
        f"listener {port} 127.0.0.1",
        f"allow_anonymous {'true' if anonymous else 'false'}",
        "max_queued_messages 100000",
        f"persistence {'true' if persistence else 'false'}",
        f"persistence_location {directory}/",
        "autosave_on_changes true",
        "autosave_interval 1",
        "user root",
        extra,
    ]
    (directory / "mosquitto.conf").write_text("\n".join(lines) + "\n")
    broker = RunningBroker(directory, port)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()
