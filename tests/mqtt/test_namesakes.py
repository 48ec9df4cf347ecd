"""Old images and twins, seen in receipts."""

from __future__ import annotations

from edge_sdk.contract.receipt import Receipt
from edge_sdk.mqtt.namesakes import Namesakes
from edge_sdk.outbox.epochs import Epoch, Epochs

OURS = Epochs([(0, "aa"), (100, "bb")])


def told(namesakes: Namesakes, epoch: str, top: int, *, at_s: float = 0.0, is_kept: bool = False) -> list[str]:
    ours: Epoch | None = OURS.named(epoch)
    receipt = Receipt(v=1, epoch=epoch, stored=((1, top),))
    found = namesakes.heard(receipt, ours, before=OURS.current.before, is_kept=is_kept, now_ns=round(at_s * 1e9))
    return [one.name for one in found]


def test_receipts_of_what_we_made_say_nothing() -> None:
    namesakes = Namesakes()

    assert told(namesakes, "aa", 100) == []
    assert told(namesakes, "bb", 40) == []
    assert told(namesakes, "bb", 50_000, at_s=1000) == []


def test_more_rows_of_a_former_epoch_than_we_made_are_an_old_image_and_told_once() -> None:
    namesakes = Namesakes()

    assert told(namesakes, "aa", 101, is_kept=True) == ["outbox.old_image"]
    assert told(namesakes, "aa", 101) == []


def test_an_epoch_that_is_not_ours_and_grows_for_minutes_is_a_twin() -> None:
    namesakes = Namesakes()

    assert told(namesakes, "cc", 5, is_kept=True) == []
    assert told(namesakes, "cc", 5) == []
    assert told(namesakes, "cc", 9, at_s=60) == []
    assert told(namesakes, "cc", 9, at_s=400, is_kept=True) == []
    assert told(namesakes, "cc", 12, at_s=400) == ["station.twin"]
    assert told(namesakes, "cc", 13, at_s=900) == []


def test_the_origin_of_a_clone_that_goes_on_is_both() -> None:
    namesakes = Namesakes()

    assert told(namesakes, "aa", 150) == ["outbox.old_image"]
    assert told(namesakes, "aa", 5000, at_s=301) == ["station.twin"]


def test_very_many_strangers_are_not_all_remembered() -> None:
    namesakes = Namesakes()

    for number in range(1000):
        assert told(namesakes, f"{number:04x}", 1) == []
    assert told(namesakes, "0000", 2, at_s=400) == []
