"""kill -9 of any process at random instants: what `put` accepted is in the monitor's store exactly once.

Real mosquitto, real processes. Each run prints its seed; the long form is `make faults`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.brokers import mosquitto
from tests.databases import postgres
from tests.faults.scene import Scene, fresh_seed, wait_for


def progress(scene: Scene, victim: str) -> int:
    return scene.count_accepted() if victim == "station" else scene.count()


def has_passed(scene: Scene, victim: str, mark: int) -> bool:
    return progress(scene, victim) > mark


def run(
    directory: Path,
    victims: str | Sequence[str],
    kills: int,
    *,
    persistence: bool = False,
    database: bool = False,
    seed: int | None = None,
) -> None:
    """Kill the victims in turn, so many times; `database` = the monitor stores in PostgreSQL."""
    victims = (victims,) if isinstance(victims, str) else victims
    seed = fresh_seed() if seed is None else seed
    rng = random.Random(seed)
    with ExitStack() as stack:
        server = stack.enter_context(postgres()) if database else None
        broker = stack.enter_context(mosquitto(directory / "broker", persistence=persistence))
        scene = Scene(directory, broker.url, database=server.new_database() if server else None)
        stack.enter_context(scene.collector)
        stack.enter_context(scene.feeder)
        wait_for(scene.count)
        for number in range(kills):
            victim = victims[number % len(victims)]
            time.sleep(rng.uniform(0.0, 0.4))
            if victim == "broker":
                broker.kill()
                time.sleep(rng.uniform(0.0, 0.2))
                broker.start()
            elif victim == "database":
                assert server is not None
                server.kill()
                time.sleep(rng.uniform(0.0, 0.5))
                server.start()
                wait_for(partial(has_passed, scene, victim, scene.count()))
            else:
                child = scene.feeder if victim == "station" else scene.collector
                child.kill()
                child.start()
                # It must live long enough to work, and be killed at any moment of that:
                mark = progress(scene, victim)
                time.sleep(rng.uniform(0.0, 0.3))
                if rng.random() < 0.7:
                    wait_for(partial(has_passed, scene, victim, mark))
        mark = scene.count()
        wait_for(lambda: scene.count() > mark)
        accepted, stored = scene.finish()
    where = " in PostgreSQL" if database else ""
    print(f"seed {seed}: {' and '.join(victims)} killed {kills} times, {accepted} accepted, {stored} stored{where}")


def test_nothing_is_lost_or_double_when_the_station_is_killed(tmp_path: Path) -> None:
    run(tmp_path, "station", 4)


def test_nothing_is_lost_or_double_when_the_monitor_is_killed(tmp_path: Path) -> None:
    run(tmp_path, "monitor", 4)


@pytest.mark.parametrize("persistence", [False, True])
def test_nothing_is_lost_or_double_when_the_broker_is_killed(tmp_path: Path, persistence: bool) -> None:
    run(tmp_path, "broker", 3, persistence=persistence)


def test_nothing_is_lost_or_double_in_postgresql_when_it_and_the_monitor_are_killed(tmp_path: Path) -> None:
    run(tmp_path, ("database", "monitor"), 2, database=True)


@pytest.mark.slow
@pytest.mark.parametrize(("victim", "kills"), [("station", 500), ("monitor", 200)])
def test_the_long_form_of_killing_processes(tmp_path: Path, victim: str, kills: int) -> None:
    run(tmp_path, victim, kills)


@pytest.mark.slow
@pytest.mark.parametrize("persistence", [False, True])
def test_the_long_form_of_killing_the_broker(tmp_path: Path, persistence: bool) -> None:
    run(tmp_path, "broker", 100, persistence=persistence)


@pytest.mark.slow
@pytest.mark.parametrize(("victim", "kills"), [("station", 50), ("monitor", 200), ("broker", 50), ("database", 100)])
def test_the_long_form_of_kills_with_postgresql(tmp_path: Path, victim: str, kills: int) -> None:
    run(tmp_path, victim, kills, database=True)
