"""An old image of the card put back, and a card cloned: no number is given twice, and nothing is taken for a resend.

Real mosquitto, real processes. The card is a directory; an image is a copy of it, taken while the station ran.
"""

from __future__ import annotations

import random
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.brokers import mosquitto
from tests.faults.scene import Child, Scene, fresh_seed, wait_for
from tests.outbox.test_outbox import needs_a_witness

MORE = 150


def more_of(count: int, scene: Scene) -> None:
    """Until the station has accepted so many more."""
    mark = scene.count_accepted() + count
    wait_for(lambda: scene.count_accepted() >= mark)


def copy(card: Path, image: Path) -> None:
    """As dd does: everything that is there; the lock is nobody's."""
    shutil.rmtree(image, ignore_errors=True)
    shutil.copytree(card, image)


def put_back(directory: Path, turns: int, seed: int) -> None:
    """Put an old image back so many times; each time the station first runs without its broker, or with it."""
    rng = random.Random(seed)
    card, image = directory / "card", directory / "image"
    with ExitStack() as stack:
        broker = stack.enter_context(mosquitto(directory / "broker"))
        scene = Scene(directory, broker.url)
        stack.enter_context(scene.collector)
        stack.enter_context(scene.feeder)
        wait_for(scene.count)
        for _ in range(turns):
            more_of(rng.randrange(MORE), scene)
            scene.feeder.kill()
            copy(card, image)
            for _ in range(rng.choice((1, 2))):  # since then it was started once, or twice
                scene.feeder.start()
                more_of(rng.randrange(1, MORE), scene)
                scene.feeder.finish(120)  # what still waited on the card would be gone with it
            copy(image, card)
            is_offline = rng.random() < 0.7
            if is_offline:
                broker.kill()
            scene.feeder.start()
            more_of(rng.randrange(1, MORE), scene)
            if rng.random() < 0.3:
                scene.feeder.kill()
                scene.feeder.start()
                more_of(1, scene)  # it cannot be told to end in order before it runs
            if is_offline:
                broker.start()
            mark = scene.count()
            wait_for(lambda mark=mark: scene.count() > mark)  # type: ignore[misc]
        accepted, stored = scene.finish(120)
        epochs = len({one.epoch for one in scene.stored()})
        assert "put back from an old image" in scene.feeder.said_in_all()
    print(f"seed {seed}: an old image put back {turns} times, {accepted} accepted, {stored} stored in {epochs} epochs")
    assert epochs == 1 + turns


@needs_a_witness
def test_nothing_is_lost_or_double_when_an_old_image_is_put_back(tmp_path: Path) -> None:
    put_back(tmp_path, 2, fresh_seed())


@needs_a_witness
@pytest.mark.slow
def test_the_long_form_of_old_images(tmp_path: Path) -> None:
    put_back(tmp_path, 100, fresh_seed())


def test_a_card_that_was_cloned_makes_two_stations_that_both_deliver(tmp_path: Path) -> None:
    with ExitStack() as stack:
        broker = stack.enter_context(mosquitto(tmp_path / "broker"))
        scene = Scene(tmp_path, broker.url)
        stack.enter_context(scene.collector)
        stack.enter_context(scene.feeder)
        wait_for(scene.count)
        more_of(MORE, scene)
        scene.feeder.kill()
        copy(tmp_path / "card", tmp_path / "clone")
        command = ["tests.faults.feeder", str(tmp_path / "clone" / "outbox.db"), broker.url]
        twin = Child(tmp_path / "twin.log", *command, str(tmp_path / "ledger.txt"), "400")
        scene.feeder.start()
        stack.enter_context(twin)
        more_of(MORE, scene)
        twin.finish(120)
        scene.finish(120)
        assert "put back from an old image of the card" in twin.said_in_all()

    assert len({one.epoch for one in scene.stored()}) == 2
