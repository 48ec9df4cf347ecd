"""The demo's broker: mosquitto if it is on this machine, else the embedded one; on loopback alone."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from edge_sdk.base.errors import MissingExtraError, TransportError

_STARTS_WITHIN_S = 10.0

# rumqttd, as the package iotcore starts it: MQTT 5, everything in memory.
_EMBEDDED = """\
id = 0

[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10

[v5.1]
name = "v5-1"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
    [v5.1.connections]
    connection_timeout_ms = 60000
    max_payload_size = 1048576
    max_inflight_count = 1000
    dynamic_filters = true
"""

_MOSQUITTO = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
log_type error
"""


class DemoBroker:
    """A broker process without persistence, that can be cut off and brought back.

    Attributes:
        url: Where it listens.
        kind: ``mosquitto`` or ``iotcore``.
    """

    def __init__(self, directory: Path) -> None:
        self._port = _free_port()
        self.url = f"mqtt://127.0.0.1:{self._port}"
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
        self.kind = "mosquitto" if program else "iotcore"
        config = directory / f"{self.kind}.conf"
        if program:
            config.write_text(_MOSQUITTO.format(port=self._port), encoding="ascii")
            self._command = [program, "-c", str(config)]
        else:
            config = config.with_suffix(".toml")
            config.write_text(_EMBEDDED.format(port=self._port), encoding="ascii")
            code = "import sys, iotcore; iotcore.IotCoreBroker(config_path=sys.argv[1]).run_forever()"
            self._command = [sys.executable, "-c", code, str(config)]
        self._log = directory / "broker.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> DemoBroker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            MissingExtraError: Neither mosquitto nor iotcore is installed.
            TransportError: It does not come up; the message has its last words.
        """
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + _STARTS_WITHIN_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            time.sleep(0.02)
        words = self._log.read_text(encoding="utf-8", errors="replace")[-400:]
        self.cut()
        if "No module named 'iotcore'" in words:
            raise MissingExtraError("The demo's broker (mosquitto is not on this machine)", extra="demo")
        raise TransportError(f"The demo's broker ({self.kind}) does not start: {words or 'it says nothing'}.")

    def cut(self) -> None:
        """Kill it in mid-flight: what it held is gone, its connections break."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
