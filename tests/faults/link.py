"""Two network name spaces joined by a link that can be made bad: the field with the station, and the centre."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import TracebackType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from typing_extensions import Self

FIELD, CENTRE = "10.231.9.1", "10.231.9.2"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


class Link:
    """Made by ``with``; skips the test where name spaces are not permitted."""

    def __init__(self) -> None:
        name = f"edge{os.getpid()}"
        self._field, self._wire, self._centre = f"{name}-field", f"{name}-wire", f"{name}-centre"
        self._relay: subprocess.Popen[bytes] | None = None

    @property
    def field(self) -> list[str]:
        """What a command begins with to run where the station is."""
        return ["ip", "netns", "exec", self._field]

    @property
    def centre(self) -> list[str]:
        """What a command begins with to run where the broker and the monitor are."""
        return ["ip", "netns", "exec", self._centre]

    def __enter__(self) -> Self:
        try:
            _ip("netns", "add", self._field)
        except (OSError, subprocess.CalledProcessError) as error:
            reason = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else error
            pytest.skip(f"network name spaces are not permitted here: {reason}")
        try:
            self._make()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._relay is not None:
            assert self._relay.stdin is not None
            self._relay.stdin.close()
            self._relay.wait(10)
        self._remove()

    def set(self, *, loss: float = 0.0, delay_s: float = 0.0, up: bool = True, down: bool = True) -> None:
        """The weather from now on.

        Args:
            loss: Share of frames lost, each way.
            delay_s: Delay each way.
            up: Whether frames go from the field to the centre.
            down: Whether frames go back.
        """
        assert self._relay is not None
        assert self._relay.stdin is not None
        said = {"loss": loss, "delay_s": delay_s, "cut": [not up, not down]}
        self._relay.stdin.write(json.dumps(said).encode() + b"\n")
        self._relay.stdin.flush()

    def cut(self) -> None:
        """Frames vanish both ways; nobody is told."""
        self.set(up=False, down=False)

    def _make(self) -> None:
        for space in (self._wire, self._centre):
            _ip("netns", "add", space)
        for space in (self._field, self._wire, self._centre):
            _ip("-n", space, "link", "set", "lo", "up")
        for end, space, address in (("left", self._field, FIELD), ("right", self._centre, CENTRE)):
            _ip("-n", self._wire, "link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", space)
            _ip("-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
            plain = [sys.executable, "-m", "tests.faults.frames", "plain", "eth0"]
            subprocess.run(["ip", "netns", "exec", space, *plain], check=True, capture_output=True, text=True)
            _ip("-n", space, "link", "set", "eth0", "up")
            _ip("-n", self._wire, "link", "set", end, "up")
        self._relay = subprocess.Popen(
            ["ip", "netns", "exec", self._wire, sys.executable, "-m", "tests.faults.frames", "left", "right"],
            stdin=subprocess.PIPE,
        )

    def _remove(self) -> None:
        for space in (self._field, self._wire, self._centre):
            subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)
