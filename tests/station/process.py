"""The station's program as a process."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge_sdk.base.clock import SystemClock
from edge_sdk.contract.manifest import Windowing
from edge_sdk.contract.trust import SigningKey
from edge_sdk.outbox.sqlite import SqliteOutbox
from tests.brokers import RunningBroker
from tests.models import LENGTH, tiny_bundle

STATION = """\
site: roof
station: alone
state_directory: state
broker: {{url: "{broker}", delivery: broker}}
trust: {{keys: [key.pub]}}
sensors:
  thing: {{kind: simulated, options: {{rate_hz: 50, block_s: 0.1, channels: 2}}}}
streams:
  level:
    models: [{{bundle: tiny.edge}}]
"""
EDGE_SDK = [sys.executable, "-m", "edge_sdk.cli"]
_ENDS_WITHIN_S = 60.0


def configured(directory: Path, broker: RunningBroker) -> Path:
    """The configuration of a station with one sensor and one model, signed, 25 results a second."""
    SigningKey.new().write(directory / "key")
    windowing = Windowing(length=LENGTH, stride=2, rate_hz=50.0)
    tiny_bundle(directory / "tiny.edge", key=SigningKey.read(directory / "key"), windowing=windowing)
    path = directory / "station.yaml"
    path.write_text(STATION.format(broker=broker.url))
    return path


def wait_for(condition: Callable[[], object], *, within_s: float = _ENDS_WITHIN_S) -> None:
    """Poll until it is true."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def numbered(directory: Path) -> int:
    """How many results the station has numbered so far, seen from beside it."""
    path = directory / "state" / "outbox.sqlite"
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
            return int(db.execute("SELECT coalesce(max(seq), 0) FROM results").fetchone()[0])
    except sqlite3.OperationalError:  # not made yet
        return 0


def accepted(directory: Path) -> int:
    """How many results the outbox has numbered; no station runs."""
    outbox = SqliteOutbox.open(directory / "state" / "outbox.sqlite", clock=SystemClock())
    try:
        return outbox.stats().newest
    finally:
        outbox.close()


@dataclass
class Running:
    """A station that runs.

    Attributes:
        process: The process.
        log_file: Its standard error.
    """

    process: subprocess.Popen[bytes]
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def says(self, words: str, *, within_s: float = _ENDS_WITHIN_S) -> None:
        """Wait until these words stand in its log."""
        wait_for(lambda: words in self.log or self.process.poll() is not None, within_s=within_s)
        assert words in self.log, self.log

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> int:
        """Tell it to end; its exit code."""
        self.process.send_signal(sign)
        return self.process.wait(_ENDS_WITHIN_S)


@contextmanager
def running(config: Path, *options: str, environment: Mapping[str, str] | None = None) -> Iterator[Running]:
    """The station of `config`, ended with the block."""
    with started([*EDGE_SDK, "station", "run", str(config), *options], config.parent, environment) as station:
        yield station


@contextmanager
def started(command: Sequence[str], directory: Path, environment: Mapping[str, str] | None = None) -> Iterator[Running]:
    """A process whose standard error is kept in `directory`."""
    log_file = directory / f"log-{time.monotonic_ns()}.txt"
    with (
        log_file.open("wb") as log,
        subprocess.Popen(command, stderr=log, stdout=log, env={**os.environ, **(environment or {})}) as process,
    ):
        try:
            yield Running(process, log_file)
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(_ENDS_WITHIN_S)
                except subprocess.TimeoutExpired:
                    process.kill()
