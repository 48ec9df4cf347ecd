"""The play: broker, monitor and stations as processes of their own; the broker is cut off half-way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge_sdk.base.errors import EdgeError
from edge_sdk.contract.bundle import Bundle
from edge_sdk.demo.broker import DemoBroker
from edge_sdk.demo.people import Person
from edge_sdk.monitor.store.reader import StoreReader
from edge_sdk.monitor.store.views import StoredResult
from edge_sdk.outbox.sqlite import SqliteOutbox

_POLL_S = 0.2
_MONITOR_STARTS_WITHIN_S = 60.0
_DRAINS_WITHIN_S = 120.0
_STOPS_WITHIN_S = 20.0


class DemoError(EdgeError, RuntimeError):
    """A process of the demo failed; the message has its last words."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What an onlooker is shown, a few times a second.

    Attributes:
        reader: The monitor's store, for reading.
        url: The monitor's page.
        elapsed_s: Since the stations were started.
        broker_is_cut: Whether the broker is away.
    """

    reader: StoreReader
    url: str
    elapsed_s: float
    broker_is_cut: bool


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """What was left behind.

    Attributes:
        stored: Everything in the monitor's store.
        accepted: Highest sequence number that each station's outbox ever gave.
        epochs: Epoch of each station's outbox.
        seconds: How long the stations ran.
        broker: Which broker it was.
        store: The monitor's store.
    """

    stored: Sequence[StoredResult]
    accepted: Mapping[str, int]
    epochs: Mapping[str, str]
    seconds: float
    broker: str
    store: Path


def play(
    directory: Path,
    people: Sequence[Person],
    bundles: Mapping[str, Bundle],
    key_file: Path,
    *,
    seconds: float,
    start_ns: dict[str, int],
    opened: Callable[[str], None],
    watch: Callable[[Scene], None],
) -> Played:
    """Run the whole of it.

    Args:
        directory: Where everything is written; empty.
        people: The stations.
        bundles: The bundle of each sensor.
        key_file: The public key that signed them.
        seconds: How long each person's recordings are replayed; in between the broker is away for a while.
        start_ns: Gets the event time of each station's first sample.
        opened: Told the URL of the monitor's page once it is served.
        watch: Shown the scene a few times a second.

    Raises:
        DemoError: A process failed.
    """
    store = directory / "monitor.db"
    with ExitStack() as stack:
        broker = stack.enter_context(DemoBroker(directory))
        url = stack.enter_context(_monitor(directory, store, broker.url))
        reader = stack.enter_context(StoreReader(store))
        opened(url)
        stations = {}
        for person in people:
            speed = person.timeline.duration_s / seconds
            # Event time runs faster than the clock, and catches up with it at the end.
            start_ns[person.station] = time.time_ns() - round((person.timeline.duration_s - seconds) * 1e9)
            config = person.configure(
                directory / person.station,
                broker_url=broker.url,
                bundles={sensor: bundle.path for sensor, bundle in bundles.items()},
                key_file=key_file,
                start_ns=start_ns[person.station],
                speed=speed,
            )
            command = [*_EDGE_SDK, "station", "run", str(config), "--log-level", "warning"]
            stations[person.station] = stack.enter_context(_process(command, directory / f"{person.station}.log"))
        took_s = _attend(stations, broker, reader, url, seconds, watch, directory)
        stored = list(reader.results())
    outboxes = {person.station: directory / person.station / "state" / "outbox.sqlite" for person in people}
    accepted, epochs = _accepted(outboxes)
    return Played(stored, accepted, epochs, took_s, broker.kind, store)


_EDGE_SDK = (sys.executable, "-m", "edge_sdk.cli")


def _attend(
    stations: Mapping[str, subprocess.Popen[bytes]],
    broker: DemoBroker,
    reader: StoreReader,
    url: str,
    seconds: float,
    watch: Callable[[Scene], None],
    directory: Path,
) -> float:
    """Watch until every station has delivered all it has; cut the broker off half-way. Gives the seconds it took."""
    cut_at, back_at = 0.5 * seconds, 0.5 * seconds + max(2.0, 0.12 * seconds)
    begun, is_cut, was_cut = time.monotonic(), False, False
    while any(process.poll() is None for process in stations.values()):
        elapsed = time.monotonic() - begun
        if elapsed > cut_at and not was_cut:
            broker.cut()
            is_cut = was_cut = True
        if is_cut and elapsed > back_at:
            broker.start()
            is_cut = False
        if elapsed > seconds + _DRAINS_WITHIN_S:
            raise DemoError(f"The stations did not deliver everything within {elapsed:.0f} s. Logs are in {directory}.")
        watch(Scene(reader, url, elapsed, is_cut))
        time.sleep(_POLL_S)
    for name, process in stations.items():
        if process.returncode:
            raise DemoError(f"Station {name} failed ({process.returncode}): {_last_words(directory / f'{name}.log')}")
    took_s = time.monotonic() - begun
    watch(Scene(reader, url, took_s, is_cut))
    return took_s


@contextmanager
def _monitor(directory: Path, store: Path, broker_url: str) -> Iterator[str]:
    """The monitor's process; gives the URL of its page."""
    ready = directory / "monitor.ready.json"
    command = [*_EDGE_SDK, "monitor", "run", "--broker", broker_url, "--store", str(store)]
    command += ["--listen", "127.0.0.1:0", "--ready-file", str(ready)]
    with _process(command, directory / "monitor.log") as process:
        deadline = time.monotonic() + _MONITOR_STARTS_WITHIN_S
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise DemoError(f"The monitor does not start: {_last_words(directory / 'monitor.log')}")
            time.sleep(0.05)
        yield json.loads(ready.read_text(encoding="utf-8"))["url"]


@contextmanager
def _process(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A child that is told to stop at the end, and killed if it does not."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=environment)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOPS_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _accepted(outboxes: Mapping[str, Path]) -> tuple[dict[str, int], dict[str, str]]:
    """What each outbox ever accepted, and under which epoch: read from its file."""
    from edge_sdk.base.clock import SystemClock

    accepted, epochs = {}, {}
    for name, path in outboxes.items():
        outbox = SqliteOutbox.open(path, clock=SystemClock())
        try:
            newest = outbox.stats().newest
            accepted[name], epochs[name] = newest, outbox.epochs.of(newest).id
        finally:
            outbox.close()
    return accepted, epochs


def _last_words(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-1500:].strip() or "it says nothing"
