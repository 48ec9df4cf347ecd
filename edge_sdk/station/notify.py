"""What systemd is told: ready, alive, reloading, stopping; by ``sd_notify(3)``'s protocol, without its library."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping

log = logging.getLogger(__name__)

_MICROSECONDS = 1_000_000


class Notifier:
    """Sends states to the service manager; does nothing where there is none.

    Args:
        address: Path of its datagram socket, ``@name`` for an abstract one; empty = nobody listens.
        watchdog_s: It kills us after so long without `alive`; None = it does not watch.
    """

    def __init__(self, address: str = "", watchdog_s: float | None = None) -> None:
        self.watchdog_s = watchdog_s
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._said_status = ""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Notifier:
        """What the service manager put into our environment: ``NOTIFY_SOCKET``, ``WATCHDOG_USEC``, ``WATCHDOG_PID``."""
        ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = environment.get("WATCHDOG_USEC", "") if ours else ""
        watchdog_s = int(microseconds) / _MICROSECONDS if microseconds.isdigit() and int(microseconds) else None
        return cls(environment.get("NOTIFY_SOCKET", ""), watchdog_s)

    def ready(self) -> None:
        """Started, or loaded anew."""
        self._send("READY=1")

    def alive(self) -> None:
        """Work goes on."""
        self._send("WATCHDOG=1")

    def status(self, words: str) -> None:
        """One line for ``systemctl status``; the same line is sent once."""
        if words != self._said_status:
            self._said_status = words
            self._send(f"STATUS={words}")

    def reloading(self) -> None:
        """The configuration is read again; `ready` follows."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, within_s: float) -> None:
        """Told to stop; it may take so long."""
        self._send(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={round(within_s * _MICROSECONDS)}")

    def _send(self, state: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            try:
                sender.sendto(state.encode(), self._address)
            except OSError as error:  # a manager that is away must not stop the station
                log.warning("service manager is not told", extra={"state": state.split("\n")[0], "reason": str(error)})
