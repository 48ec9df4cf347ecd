"""kill -9 of any process at random instants: what `put` accepted is in the monitor's store exactly once.

Real mosquitto, real processes. Each run prints its seed; the long form is `make faults`.
"""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import pytest

from tests.brokers import RunningBroker, mosquitto

if TYPE_CHECKING:
    from typing_extensions import Self


_STORED = "SELECT epoch, seq, value FROM results JOIN sources ON sources.id = source"


class Child:
    """A process that can be killed and started again."""

    def __init__(self, log: Path, *command: str) -> None:
        self._log, self._command = log, command
        self.process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-m", *self._command], stdout=log, stderr=log)

    def kill(self) -> None:
        assert self.process.poll() is None, self._log.read_text()
        self.process.kill()
        self.process.wait()

    def finish(self, deadline_s: float) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(deadline_s) == 0, self._log.read_text()


class Scene:
    """A broker, a feeder and a collector, and the ledger of what was accepted."""

    def __init__(self, directory: Path, stack: ExitStack, *, persistence: bool = False) -> None:
        self._ledger, self._store = directory / "ledger.txt", directory / "monitor.db"
        self.broker: RunningBroker = stack.enter_context(mosquitto(directory / "broker", persistence=persistence))
        url = self.broker.url
        self.collector = stack.enter_context(
            Child(directory / "collector.log", "tests.faults.collector", url, str(self._store))
        )
        self.feeder = stack.enter_context(
            Child(directory / "feeder.log", "tests.faults.feeder", str(directory / "outbox.db"), url, str(self._ledger))
        )
        self.wait_for(lambda: self.stored())

    def wait_for(self, condition: Callable[[], object], deadline_s: float = 30.0) -> None:
        deadline = time.monotonic() + deadline_s
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.01)

    def accepted(self) -> dict[tuple[str, int], int]:
        book = {}
        for line in self._ledger.read_text().splitlines():
            epoch, seq, value = line.split()
            assert (epoch, int(seq)) not in book, "a number was given twice"
            book[epoch, int(seq)] = int(value)
        return book

    def stored(self) -> list[tuple[str, int, int]]:
        if not self._store.exists():
            return []
        with closing(sqlite3.connect(f"file:{self._store}?mode=ro", uri=True)) as db:
            try:
                rows = db.execute(
                    "SELECT epoch, seq, value FROM results JOIN sources ON sources.id = source"
                ).fetchall()
            except sqlite3.OperationalError:  # its tables are being made
                return []
        return [(epoch, seq, int(value)) for epoch, seq, value in rows]

    def progress(self, victim: str) -> int:
        return len(self.accepted()) if victim == "station" else len(self.stored())

    def has_passed(self, victim: str, mark: int) -> bool:
        return self.progress(victim) > mark

    def compare(self) -> tuple[int, int]:
        """After the feeder drained: nothing lost, nothing double. Returns how many were accepted, and stored."""
        accepted, stored = self.accepted(), self.stored()
        keys = {(epoch, seq): value for epoch, seq, value in stored}
        assert len(keys) == len(stored), "a key is stored twice"
        assert len({value for _, _, value in stored}) == len(stored), "a result is stored under two keys"
        lost = [key for key, value in accepted.items() if keys.get(key) != value]
        assert not lost, f"lost or changed: {lost[:10]} of {len(accepted)}"
        return len(accepted), len(stored)


def run(directory: Path, victim: str, kills: int, *, persistence: bool = False, seed: int | None = None) -> None:
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    rng = random.Random(seed)
    with ExitStack() as stack:
        scene = Scene(directory, stack, persistence=persistence)
        for _ in range(kills):
            time.sleep(rng.uniform(0.0, 0.4))
            if victim == "broker":
                scene.broker.kill()
                time.sleep(rng.uniform(0.0, 0.2))
                scene.broker.start()
            else:
                child = scene.feeder if victim == "station" else scene.collector
                child.kill()
                child.start()
                # It must live long enough to work, and be killed at any moment of that:
                mark = scene.progress(victim)
                time.sleep(rng.uniform(0.0, 0.3))
                if rng.random() < 0.7:
                    scene.wait_for(partial(scene.has_passed, victim, mark))
        scene.wait_for(lambda: scene.feeder.process.poll() is None)
        mark = len(scene.stored())
        scene.wait_for(lambda: len(scene.stored()) > mark)
        scene.feeder.finish(60)
        accepted, stored = scene.compare()
    print(f"seed {seed}: {victim} killed {kills} times, {accepted} accepted, {stored} stored")


def test_nothing_is_lost_or_double_when_the_station_is_killed(tmp_path: Path) -> None:
    run(tmp_path, "station", 5)


def test_nothing_is_lost_or_double_when_the_monitor_is_killed(tmp_path: Path) -> None:
    run(tmp_path, "monitor", 5)


@pytest.mark.parametrize("persistence", [False, True])
def test_nothing_is_lost_or_double_when_the_broker_is_killed(tmp_path: Path, persistence: bool) -> None:
    run(tmp_path, "broker", 4, persistence=persistence)


@pytest.mark.slow
@pytest.mark.parametrize(("victim", "kills"), [("station", 500), ("monitor", 200)])
def test_the_long_form_of_killing_processes(tmp_path: Path, victim: str, kills: int) -> None:
    run(tmp_path, victim, kills)


@pytest.mark.slow
@pytest.mark.parametrize("persistence", [False, True])
def test_the_long_form_of_killing_the_broker(tmp_path: Path, persistence: bool) -> None:
    run(tmp_path, "broker", 100, persistence=persistence)
