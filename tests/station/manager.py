"""A service manager for tests: a real datagram socket where systemd's would be."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_DEADLINE_S = 60.0


class Manager:
    """Hears what a service says of itself.

    Attributes:
        heard: Every message, with the monotonic time at which it came.
    """

    def __init__(self, path: Path, watchdog_s: float) -> None:
        self.heard: list[tuple[float, str]] = []
        self.environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": str(round(watchdog_s * 1e6))}
        self._came = threading.Condition()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            message = self._socket.recv(4096).decode()
            if message == "END":
                return
            with self._came:
                self.heard.append((time.monotonic(), message))
                self._came.notify_all()

    def count(self, words: str) -> int:
        return sum(message.startswith(words) for _, message in list(self.heard))

    def wait_for(self, words: str, *, times: int = 1, within_s: float = _DEADLINE_S) -> None:
        """Until it was said so often."""
        with self._came:
            done = self._came.wait_for(lambda: self.count(words) >= times, within_s)
        assert done, f"{words!r} was not said {times} times; heard were {[message for _, message in self.heard]}"

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"END", self.environment["NOTIFY_SOCKET"])
        self._thread.join()
        self._socket.close()


@contextmanager
def managing(directory: Path, *, watchdog_s: float = 30.0) -> Iterator[Manager]:
    manager = Manager(directory / "notify", watchdog_s)
    try:
        yield manager
    finally:
        manager.close()
