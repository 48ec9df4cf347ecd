"""A bad network between station and centre: cuts, loss, delay, half-open connections. Nothing is lost or double.

Two network name spaces joined by a relay of Ethernet frames; skipped with the reason where they are not permitted.
"""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.faults.link import CENTRE, Link
from tests.faults.scene import Scene, Stored, fresh_seed, wait_for

PORT = 1883


@contextmanager
def broker(link: Link, directory: Path) -> Iterator[None]:
    """A mosquitto in the centre's name space."""
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "mosquitto.conf"
    config.write_text(
        f"listener {PORT} {CENTRE}\nallow_anonymous true\nmax_queued_messages 100000\npersistence false\nuser root\n"
    )
    with (directory / "mosquitto.log").open("wb") as log:
        process = subprocess.Popen([*link.centre, "mosquitto", "-c", str(config)], stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


class Field:
    """A station and its centre with a link between them."""

    def __init__(
        self,
        directory: Path,
        stack: ExitStack,
        *,
        rate: float = 200.0,
        timeout_s: float = 2.0,
        delay_s: float = 0.0,
    ) -> None:
        self.link = stack.enter_context(Link())
        self.link.set(delay_s=delay_s)
        self._stack = stack
        self._directory = directory
        self.broker = ExitStack()
        stack.callback(self.broker.close)
        self.start_broker()
        self.scene = Scene(
            directory,
            f"mqtt://{CENTRE}:{PORT}",
            rate=rate,
            field=self.link.field,
            centre=self.link.centre,
            more=[str(timeout_s)],
        )
        stack.enter_context(self.scene.collector)
        stack.enter_context(self.scene.feeder)
        wait_for(self.scene.count)

    def start_broker(self) -> None:
        self.broker.enter_context(broker(self.link, self._directory / "broker"))

    def restart_broker(self) -> None:
        self.broker.close()
        self.start_broker()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def live(rows: Sequence[Stored]) -> list[Stored]:
    return [one for one in rows if not one.backlog]


def p99_s(rows: Sequence[Stored]) -> float:
    """How late live results were stored."""
    late = sorted((one.stored_ns - one.t_ns) / 1e9 for one in live(rows))
    return late[int(len(late) * 0.99)]


def test_a_cut_that_nobody_is_told_of_loses_nothing(tmp_path: Path, stack: ExitStack) -> None:
    field = Field(tmp_path, stack)
    field.link.cut()
    time.sleep(1.0)
    cut_at = field.scene.count()
    wait_for(lambda: field.scene.count_accepted() > cut_at + 200)
    field.link.set()

    accepted, stored = field.scene.finish()

    assert accepted == stored > cut_at + 200


def test_a_connection_that_is_open_on_one_side_alone_is_given_up(tmp_path: Path, stack: ExitStack) -> None:
    """The broker's machine restarts while the link is down: it knows nothing of the connection that we believe in."""
    field = Field(tmp_path, stack)
    field.link.cut()
    field.restart_broker()
    mark = field.scene.count_accepted()
    wait_for(lambda: field.scene.count_accepted() > mark + 100)
    field.link.set()

    accepted, stored = field.scene.finish()

    assert accepted == stored


def test_a_link_that_loses_three_of_ten_frames_loses_no_result(tmp_path: Path, stack: ExitStack) -> None:
    field = Field(tmp_path, stack, rate=50.0)
    field.link.set(loss=0.3)
    mark = field.scene.count_accepted()
    wait_for(lambda: field.scene.count_accepted() > mark + 50)
    field.link.set()

    accepted, stored = field.scene.finish()

    assert accepted == stored


@pytest.mark.slow
def test_live_results_stay_quick_while_a_backlog_drains(tmp_path: Path, stack: ExitStack) -> None:
    field = Field(tmp_path, stack, rate=100.0)
    field.link.set(delay_s=0.05)
    begun = field.scene.count(live=True)
    wait_for(lambda: field.scene.count(live=True) > begun + 1000)
    healthy = p99_s(live(field.scene.stored())[begun + 50 :])
    field.link.cut()
    field.restart_broker()  # it has forgotten what was under way, too
    mark = field.scene.count_accepted()
    wait_for(lambda: field.scene.count_accepted() > mark + 6000, 120.0)
    field.link.set(delay_s=0.05)
    connected = field.scene.count()
    wait_for(lambda: field.scene.count() > connected + 6000, 120.0)
    rows = field.scene.stored()[connected:]
    last = max(at for at, one in enumerate(rows) if one.backlog)
    draining = p99_s(rows[:last])

    field.scene.finish()
    print(
        f"p99 of live results {healthy * 1000:.0f} ms, and {draining * 1000:.0f} ms while a backlog of"
        f" {sum(one.backlog for one in rows)} drained, {len(live(rows[:last]))} live ones meanwhile"
    )
    assert draining <= 2 * healthy


@pytest.mark.slow
def test_the_long_form_of_a_delay_of_two_seconds(tmp_path: Path, stack: ExitStack) -> None:
    field = Field(tmp_path, stack, rate=50.0, timeout_s=30.0, delay_s=2.0)
    mark = field.scene.count()
    wait_for(lambda: field.scene.count() > mark + 1000, 180.0)
    field.link.cut()
    time.sleep(10)
    field.link.set(delay_s=2.0)
    mark = field.scene.count()
    wait_for(lambda: field.scene.count() > mark + 1000, 180.0)

    accepted, stored = field.scene.finish(120)

    print(f"2 s each way: {accepted} accepted, {stored} stored")
    assert accepted == stored


@pytest.mark.slow
def test_the_long_form_of_bad_weather(tmp_path: Path, stack: ExitStack) -> None:
    """An hour, in which more goes wrong than in any day outside: a change of the weather every few seconds."""
    seed = fresh_seed()
    rng = random.Random(seed)
    field = Field(tmp_path, stack, timeout_s=10.0)
    ends, changes = time.monotonic() + 3600, 0
    while time.monotonic() < ends:
        changes += 1
        match rng.choice(("fair", "loss", "delay", "cut", "one way", "other way", "broker restarts")):
            case "fair":
                field.link.set()
            case "loss":
                field.link.set(loss=rng.uniform(0.05, 0.3))
            case "delay":
                field.link.set(delay_s=rng.uniform(0.05, 2.0))
            case "cut":
                field.link.cut()
            case "one way":
                field.link.set(up=False)
            case "other way":
                field.link.set(down=False)
            case "broker restarts":
                field.restart_broker()
        time.sleep(rng.choice((0.3, 2.0, 5.0, 15.0)))
    field.link.set()

    accepted, stored = field.scene.finish(120)

    print(f"seed {seed}: {changes} changes of the weather in an hour, {accepted} accepted, {stored} stored")
    assert accepted == stored
