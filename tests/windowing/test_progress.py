from __future__ import annotations

from edge_sdk.windowing.progress import Progress


def test_sensors_of_short_blocks_hold_nobody_up() -> None:
    progress = Progress()
    assert progress.heard("a", 1000, 10) == 990
    assert progress.heard("b", 1005, 10) == 995


def test_a_sensor_of_long_blocks_is_waited_for_as_long_as_its_blocks_are() -> None:
    progress = Progress()
    assert progress.heard("slow", 600, 600) == 0
    assert progress.heard("quick", 610, 10) == 10
    assert progress.heard("quick", 1190, 10) == 590


def test_one_long_block_after_an_outage_delays_nobody_else() -> None:
    progress = Progress()
    for reached in range(0, 100, 10):
        progress.heard("a", reached, 10)
    assert progress.heard("a", 5000, 4900) == 4990
    assert progress.heard("a", 5010, 10) == 5000


def test_time_that_was_set_back_is_followed() -> None:
    progress = Progress()
    progress.heard("a", 10_000, 10)
    assert progress.heard("a", 500, 10) == 490
