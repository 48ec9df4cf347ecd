"""More than can be taken: a monitor at a hundredth of the speed, a station that makes fifty times as much."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.brokers import mosquitto
from tests.faults.scene import Child, Scene, Stored, wait_for

ORDINARY = 100.0
"""Results a second of a busy station: ten sensors that say something ten times a second."""


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


@dataclass(frozen=True)
class Flooded:
    """What a flood did.

    Attributes:
        offered: Results that came.
        refused: Of these, what nobody had room for, counted.
        accepted: Of these, what was committed; all of it is stored.
        live: Of these, what went live, one by one.
        live_s: After how long a live result was stored: half of them, and 99 of 100.
        backlog_s: The same of the others.
        growth: Of the station's memory.
    """

    offered: int
    refused: int
    accepted: int
    live: int
    live_s: tuple[float, float]
    backlog_s: tuple[float, float]
    growth: float


def flood(directory: Path, *, rate: float, seconds: float) -> Flooded:
    """Let results come at `rate` whether they can be taken or not, while an older backlog drains."""
    with ExitStack() as stack:
        broker = stack.enter_context(mosquitto(directory / "broker"))
        scene = Scene(directory, broker.url, rate=rate, more=("2.0", str(round(rate))))
        stack.enter_context(scene.collector)
        broker.kill()
        stack.enter_context(scene.feeder)
        wait_for(lambda: scene.count_accepted() > rate)  # a second of it or more: a backlog from the first moment
        broker.start()
        wait_for(lambda: scene.count(live=True))
        time.sleep(seconds / 4)
        gauge = Gauge(scene.feeder)
        gauge.settle()
        time.sleep(seconds * 3 / 4)
        growth = gauge.growth
        accepted, stored = scene.finish(300)
        assert accepted == stored
        stored_ones = scene.stored()
    live = [one for one in stored_ones if not one.backlog]
    backlog = [one for one in stored_ones if one.backlog]
    offered, refused = map(int, (directory / "ledger.txt.flood").read_text().split())
    assert offered == accepted + refused, "some were lost without a word"
    return Flooded(offered, refused, accepted, len(live), waits_s(live), waits_s(backlog), growth)


def waits_s(results: Sequence[Stored]) -> tuple[float, float]:
    """After how long half of them, and 99 of 100, were stored."""
    waits = sorted(one.stored_ns - one.t_ns for one in results)
    return waits[len(waits) // 2] / 1e9, waits[len(waits) * 99 // 100] / 1e9


def test_a_flood_is_taken_or_refused_and_counted_and_live_results_go_first(tmp_path: Path) -> None:
    assert flood(tmp_path, rate=ORDINARY * 10, seconds=1.0).live


@pytest.mark.slow
def test_the_long_form_of_a_flood(tmp_path: Path) -> None:
    seen = flood(tmp_path, rate=ORDINARY * 50, seconds=60.0)
    print(
        f"a flood of 50 times {ORDINARY:.0f} a second: {seen.offered} offered, {seen.refused} refused and counted, "
        f"{seen.accepted} accepted and stored, {seen.live} of them live, half of these stored within "
        f"{seen.live_s[0] * 1000:.0f} ms and 99 of 100 within {seen.live_s[1] * 1000:.0f} ms, of the others within "
        f"{seen.backlog_s[0] * 1000:.0f} and {seen.backlog_s[1] * 1000:.0f} ms; "
        f"memory of the station x {seen.growth:.2f}"
    )

    assert seen.growth < 1.1
    assert seen.live_s < seen.backlog_s, "live results did not go first"
