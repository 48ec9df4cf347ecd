"""A broker restarts, and a whole fleet comes back: spread over time, and none is left behind."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.brokers import RunningBroker, mosquitto
from tests.faults.fleet import MOST_WAITING
from tests.faults.scene import wait_for


def connects(broker: RunningBroker) -> dict[str, list[float]]:
    """When each station connected, seconds since 1970, to the second."""
    text = (broker.directory / "mosquitto.log").read_text(errors="replace")
    found: dict[str, list[float]] = {}
    for when, name in re.findall(r"^(\d+): New client connected .* as (s\d+) ", text, re.MULTILINE):
        found.setdefault(name, []).append(float(when))
    return found


Said = list[dict[str, list[int]]]


def run(directory: Path, processes: int, each: int, *, away_s: float) -> tuple[Counter[int], Said]:
    """Restart the broker under a fleet. Returns how many connected in each second after it, and what they say."""
    stations = processes * each
    with mosquitto(
        directory / "broker", extra="max_connections -1\nlog_type notice\nconnection_messages true"
    ) as broker:
        fleet = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.faults.fleet", broker.url, str(number * each), str(each)],
                stdout=subprocess.PIPE,
            )
            for number in range(processes)
        ]
        try:
            wait_for(lambda: len(connects(broker)) == stations, 120.0)
            before = connects(broker)
            broker.kill()
            time.sleep(away_s)
            broker.start()
            back = time.time()
            wait_for(lambda: _all_more_often(connects(broker), before), 240.0)
            said: Said = []
            for process in fleet:
                process.send_signal(signal.SIGTERM)
                out, _ = process.communicate(timeout=120)
                said.append(json.loads(out))
            came = [times[len(before[name])] for name, times in connects(broker).items()]
        finally:
            for process in fleet:
                process.kill()
                process.wait()
                if process.stdout is not None:
                    process.stdout.close()
    return Counter(int(when - int(back)) for when in came), said


def _all_more_often(now: dict[str, list[float]], before: dict[str, list[float]]) -> bool:
    return all(len(now[name]) > len(times) for name, times in before.items())


def check(said: Said) -> None:
    assert all(is_connected for one in said for is_connected in one["connected"]), "one was left behind"
    assert min(n for one in said for n in one["delivered"]) >= 1
    assert max(n for one in said for n in one["waiting"]) <= MOST_WAITING


def test_a_fleet_comes_back_whole(tmp_path: Path) -> None:
    _, said = run(tmp_path, 1, 12, away_s=1.0)

    check(said)


@pytest.mark.slow
def test_the_long_form_of_a_thousand_stations(tmp_path: Path) -> None:
    spread, said = run(tmp_path, 5, 200, away_s=10.0)
    print(f"1,000 stations after a broker was away for 10 s, CONNECT in each second: {sorted(spread.items())}")

    check(said)
    assert max(spread.values()) <= 500, "all at once"
