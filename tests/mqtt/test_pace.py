"""How large packs become."""

from __future__ import annotations

from edge_sdk.mqtt.pace import SMALLEST_BYTES, Pace


def send(pace: Pace, *, bytes_per_s: float, way_s: float, packs: int = 50) -> None:
    """Packs over a link of that rate and delay, none quite full."""
    pace.acknowledged(0, way_s)
    for _ in range(packs):
        size = pace.pack_bytes * 4 // 5
        pace.acknowledged(size, way_s + pace.packs_under_way * size / bytes_per_s)


def test_a_quick_link_gets_large_packs() -> None:
    pace = Pace(256 * 1024)
    send(pace, bytes_per_s=100e6, way_s=0.001)

    assert pace.pack_bytes == 256 * 1024


def test_a_slow_link_gets_small_packs_that_delay_live_results_little() -> None:
    pace = Pace(256 * 1024)
    send(pace, bytes_per_s=125_000, way_s=0.05)

    assert 4 * pace.pack_bytes / 125_000 <= 0.3


def test_a_long_way_alone_makes_packs_no_smaller() -> None:
    pace = Pace(256 * 1024)
    send(pace, bytes_per_s=100e6, way_s=4.0)

    assert pace.pack_bytes == 256 * 1024


def test_a_size_that_the_connection_does_not_survive_is_not_tried_again() -> None:
    limit = 20_480
    pace, deaths = Pace(256 * 1024), 0
    for _ in range(60):
        if pace.pack_bytes > limit:
            deaths += 1
            pace.lost()
            pace.connected()
        else:
            pace.acknowledged(pace.pack_bytes, 0.001)

    assert deaths == 1
    assert pace.pack_bytes == 16 * 1024


def test_packs_never_become_too_small() -> None:
    pace = Pace(256 * 1024)
    for _ in range(20):
        pace.lost()

    assert pace.pack_bytes == SMALLEST_BYTES


def test_a_way_that_becomes_longer_is_noticed_after_a_while() -> None:
    pace = Pace(256 * 1024)
    send(pace, bytes_per_s=100e6, way_s=0.001)
    send(pace, bytes_per_s=100e6, way_s=4.0, packs=12)
    assert pace.pack_bytes == SMALLEST_BYTES, "it may be a queue"

    send(pace, bytes_per_s=100e6, way_s=4.0, packs=40)

    assert pace.pack_bytes == 256 * 1024


def test_the_smallest_packs_grow_again() -> None:
    pace = Pace(256 * 1024)
    for _ in range(5):
        pace.lost()
        pace.connected()
    assert pace.pack_bytes == SMALLEST_BYTES

    send(pace, bytes_per_s=100e6, way_s=0.1, packs=500)

    assert pace.pack_bytes == 256 * 1024


def test_a_broker_that_answers_after_one_way_or_two_is_no_queue() -> None:
    """As mosquitto does: it lets TCP hold a small answer back until the last one is acknowledged."""
    pace = Pace(256 * 1024)
    pace.acknowledged(0, 4.0)

    for number in range(50):
        pace.acknowledged(pace.pack_bytes, 8.5 if number % 3 else 12.1)

    assert pace.pack_bytes == 256 * 1024


def test_acknowledgements_that_dawdle_a_little_whatever_the_size_hold_packs_down_for_a_while_alone() -> None:
    pace = Pace(256 * 1024)
    pace.acknowledged(0, 0.1)

    for _ in range(200):
        pace.acknowledged(pace.pack_bytes, 0.16)

    assert pace.pack_bytes == 256 * 1024


def test_a_queue_of_its_own_making_is_not_taken_for_a_longer_way() -> None:
    pace = Pace(256 * 1024)
    send(pace, bytes_per_s=125_000, way_s=0.05, packs=2000)

    assert 4 * pace.pack_bytes / 125_000 <= 0.3


def test_a_modem_gets_small_packs_for_ever() -> None:
    pace = Pace(256 * 1024)
    largest = 0
    pace.acknowledged(0, 0.3)
    for _ in range(500):
        pace.acknowledged(pace.pack_bytes, 0.3 + pace.packs_under_way * pace.pack_bytes / 1200)
        largest = max(largest, pace.pack_bytes) if pace.pack_bytes < 16 * 1024 else largest

    assert largest <= 2 * SMALLEST_BYTES
    assert pace.pack_bytes <= 2 * SMALLEST_BYTES
