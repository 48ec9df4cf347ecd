"""More than can be taken: a monitor at a hundredth of the speed, a station that makes fifty times as much."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.brokers import mosquitto
from tests.faults.scene import Child, Scene, wait_for


class Gauge:
    """Memory of a process, early and late."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self.early = 0

    def settle(self) -> None:
        self.early = self._child.rss_bytes()

    @property
    def growth(self) -> float:
        return self._child.rss_bytes() / self.early


def slow_monitor(directory: Path, *, rate: float, seconds: float) -> tuple[float, float, int]:
    """Growth of the station's and of the monitor's memory, and how many were accepted and stored at last."""
    with ExitStack() as stack:
        broker = stack.enter_context(mosquitto(directory / "broker"))
        scene = Scene(directory, broker.url, rate=rate, slow=rate / 100)
        stack.enter_context(scene.collector)
        stack.enter_context(scene.feeder)
        wait_for(scene.count)
        station, monitor = Gauge(scene.feeder), Gauge(scene.collector)
        time.sleep(seconds / 2)  # by then it holds as much as the broker sends ahead
        station.settle()
        monitor.settle()
        time.sleep(seconds / 2)
        growth = station.growth, monitor.growth
        scene.collector.kill()
        stack.enter_context(scene.quick_collector)
        accepted, stored = scene.finish(120)
        assert accepted == stored
        return *growth, accepted


def test_a_monitor_at_a_hundredth_of_the_speed_loses_nothing(tmp_path: Path) -> None:
    slow_monitor(tmp_path, rate=200.0, seconds=1.0)


@pytest.mark.slow
def test_the_long_form_of_a_slow_monitor(tmp_path: Path) -> None:
    station, monitor, accepted = slow_monitor(tmp_path, rate=500.0, seconds=120.0)
    print(
        f"a monitor at 1 % for two minutes: {accepted} results, none lost; memory of the station x {station:.2f}, "
        f"of the monitor x {monitor:.2f}"
    )

    assert station < 1.1
    assert monitor < 1.1


@pytest.mark.slow
def test_the_long_form_of_a_flood(tmp_path: Path) -> None:
    """As many results as the station can commit: more than fifty times the hundred a second of an ordinary one."""
    with ExitStack() as stack:
        broker = stack.enter_context(mosquitto(tmp_path / "broker"))
        scene = Scene(tmp_path, broker.url, rate=0)
        stack.enter_context(scene.collector)
        stack.enter_context(scene.feeder)
        wait_for(scene.count)
        gauge = Gauge(scene.feeder)
        time.sleep(10.0)
        gauge.settle()
        time.sleep(30.0)
        growth = gauge.growth
        accepted, stored = scene.finish(300)
    print(f"a flood of 40 s: {accepted / 40:.0f} results a second, none lost; memory of the station x {growth:.2f}")

    assert accepted == stored
    assert growth < 1.1
