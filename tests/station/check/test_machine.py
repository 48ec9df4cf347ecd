"""What check says of a board's heat and power."""

from __future__ import annotations

import pytest

from edge_sdk.station.check.machine import heat
from edge_sdk.station.vitals import Vitals


@pytest.mark.parametrize(
    ("vitals", "what", "remedy"),
    [
        (Vitals(throttled_before=("under_voltage",)), "power", "power supply"),
        (Vitals(throttled=("under_voltage",), throttled_before=("under_voltage",)), "power", "power supply"),
        (Vitals(throttled=("cooling",), temperatures_c={"cpu": 84.0}), "heat", "heat sink"),
    ],
)
def test_a_board_that_is_slowed_down_is_told_with_what_to_do(vitals: Vitals, what: str, remedy: str) -> None:
    [finding] = heat(vitals)

    assert (finding.what, finding.ok, finding.must) == (what, False, False)
    assert remedy in finding.remedy


def test_a_cool_board_is_well_and_one_that_says_nothing_is_left_alone() -> None:
    [finding] = heat(Vitals(temperatures_c={"cpu": 51.0}, throttle_c=80.0))

    assert finding.ok
    assert finding.detail == "51 °C, slowing down begins at 80 °C"
    assert list(heat(Vitals())) == []
