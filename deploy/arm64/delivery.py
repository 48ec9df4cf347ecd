"""Delivery: a station inside sends to a real broker and a real monitor on the host; one on the host does the same."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from deploy.arm64.host import HostError
from edge_sdk.contract.result import FusedResult
from edge_sdk.demo.broker import DemoBroker
from edge_sdk.demo.exercises import RATE_HZ, SENSORS
from edge_sdk.monitor.store.reader import StoreReader
from edge_sdk.monitor.store.views import StoredResult

SITE = "proof"
STREAM = "exercise"
_WITHIN_S = 600.0
_MONITOR_STARTS_WITHIN_S = 120.0
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Delivered:
    """What one pair of stations left in the monitor's store.

    Attributes:
        runtime: What both ran.
        accepted: Results that the station inside committed to its outbox.
        stored: Those of them in the store.
        duplicates: Messages that the store had already: repeated, not stored twice.
        other_labels: Results whose label differs from that of the station on the host.
        largest: Largest difference of their confidence.
        seconds: From its start to its orderly end.
    """

    runtime: str
    accepted: int
    stored: int
    duplicates: int
    other_labels: int
    largest: float
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, and both stations said the same."""
        return self.accepted == self.stored > 0 and self.other_labels == 0


def configure(
    directory: Path, name: str, *, broker: str, runtime: str, start_ns: int, speed: float, state: str = ""
) -> Path:
    """Write ``NAME.yaml``; its paths are relative, so that it serves inside and outside.

    Args:
        directory: Holds ``recording.npz``, ``demo.key.pub`` and the bundles.
        name: The station's.
        broker: Its URL.
        runtime: What the models run on.
        start_ns: Event time of the first sample.
        speed: How many times faster than it was recorded.
        state: Its state directory; empty = beside the file. With one it tells its status, too.
    """
    replay = {"file": "recording.npz", "rate_hz": RATE_HZ, "speed": speed, "start": start_ns}
    config: dict[str, Any] = {
        "site": SITE,
        "station": name,
        "state_directory": state or f"state-{name}",
        "broker": {"url": broker},
        "trust": {"keys": ["demo.key.pub"]},
        "sensors": {sensor: {"kind": "replay", "options": {**replay, "samples": sensor}} for sensor in SENSORS},
        "streams": {
            STREAM: {
                "models": [{"bundle": f"{sensor}.edge", "runtime": runtime} for sensor in SENSORS],
                "lateness_s": 12.0,
            }
        },
        "health_every_s": 2.0,
        **({"status": {}} if state else {}),
    }
    path = directory / f"{name}.yaml"
    path.write_bytes(msgspec.yaml.encode(config))
    return path


@contextmanager
def centre(directory: Path) -> Iterator[tuple[str, StoreReader]]:
    """Broker and monitor; gives the broker's URL, and a reader of the monitor's store."""
    store, ready = directory / "monitor.db", directory / "monitor.ready.json"
    with ExitStack() as stack:
        broker = stack.enter_context(DemoBroker(directory))
        if broker.kind != "mosquitto":
            raise HostError("mosquitto is not installed. Run: sudo apt-get install mosquitto")
        command = [sys.executable, "-m", "edge_sdk.cli", "monitor", "run", "--broker", broker.url]
        command += ["--store", str(store), "--listen", "127.0.0.1:0", "--ready-file", str(ready)]
        monitor = stack.enter_context(_process(command, directory / "monitor.log"))
        _until(ready.exists, monitor, directory / "monitor.log", within_s=_MONITOR_STARTS_WITHIN_S)
        yield broker.url, stack.enter_context(StoreReader(store))


def deliver(
    commands: Mapping[str, Sequence[str]],
    directory: Path,
    reader: StoreReader,
    *,
    runtime: str,
    inside: str,
    counters: Path,
    meanwhile: Callable[[], None] = lambda: None,
) -> Delivered:
    """Run two stations, one after the other, each until its recording has ended and its outbox is empty.

    Args:
        commands: Command line of each, by the station's name.
        directory: For logs.
        reader: The monitor's store.
        runtime: For the record.
        inside: Which of them is the one to be proved.
        counters: Where that one writes what it counted.
        meanwhile: Called while that one runs.

    Raises:
        HostError: A station failed, or did not end in time.
    """
    took: dict[str, float] = {}
    for name, command in commands.items():
        begun = time.monotonic()
        with _process(command, directory / f"{name}.log") as process:
            if name == inside:
                meanwhile()
            _until(lambda: process.poll() is not None, None, directory / f"{name}.log", within_s=_WITHIN_S)
        took[name] = time.monotonic() - begun
        if process.returncode:
            raise HostError(f"Station {name} failed ({process.returncode}):\n{_last(directory / f'{name}.log')}")
    results = {name: _by_time(reader.results(station=name)) for name in commands}
    proved = results.pop(inside)
    [reference] = results.values()
    counted = json.loads(counters.read_text(encoding="utf-8"))
    pairs = [(proved[t].result, reference[t].result) for t in proved.keys() & reference.keys()]
    unpaired = len(proved.keys() ^ reference.keys())
    return Delivered(
        runtime,
        accepted=counted["results.accepted"],
        stored=len(proved),
        duplicates=reader.counters().duplicates,
        other_labels=unpaired + sum(1 for ours, theirs in pairs if ours.label != theirs.label),
        largest=max((abs(_confidence(ours) - _confidence(theirs)) for ours, theirs in pairs), default=1.0),
        seconds=took[inside],
    )


def _confidence(result: FusedResult) -> float:
    return result.confidence if isinstance(result.confidence, float) else 0.0


def _by_time(results: Iterator[StoredResult]) -> dict[int, StoredResult]:
    return {one.t_ns: one for one in results}


@contextmanager
def _process(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until(reached: Callable[[], bool], process: subprocess.Popen[bytes] | None, log: Path, *, within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not reached():
        if time.monotonic() > deadline or (process is not None and process.poll() is not None):
            raise HostError(f"{log.stem} did not get so far within {within_s:.0f} s:\n{_last(log)}")
        time.sleep(_POLL_S)


def _last(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-3000:]
