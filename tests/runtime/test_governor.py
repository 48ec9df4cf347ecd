from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_sdk.runtime.governor import Governor, Limits, Strain

SECOND = 1_000_000_000
LIMITS = Limits(hot_c=80, cool_c=70, behind_s=2.0, hold_s=10.0)


def levels(*looks: tuple[float, Strain]) -> list[int]:
    governor = Governor(LIMITS, levels=2)
    return [governor.look(strain, now_ns=round(at_s * SECOND)) for at_s, strain in looks]


HOT, WARM, COOL = (Strain(temperature_c=c) for c in (85.0, 75.0, 60.0))


def test_heat_that_stays_takes_one_step_after_the_other_down() -> None:
    assert levels((0, HOT), (5, HOT), (10, HOT), (15, HOT), (20, HOT), (60, HOT)) == [1, 1, 2, 2, 2, 2]


def test_between_warm_and_hot_the_level_stays() -> None:
    assert levels((0, HOT), (5, WARM), (500, WARM), (1000, WARM)) == [1, 1, 1, 1]


def test_work_gets_more_again_only_after_a_long_time_without_strain() -> None:
    assert levels((0, HOT), (10, HOT), (20, COOL), (50, COOL), (60, COOL), (99, COOL), (100, COOL)) == [
        1, 2, 2, 2, 1, 1, 0,
    ]  # fmt: skip


def test_one_warm_look_begins_the_wait_anew() -> None:
    assert levels((0, HOT), (20, COOL), (50, WARM), (61, COOL), (100, COOL), (101, COOL)) == [1, 1, 1, 1, 1, 0]


def test_a_slowed_processor_and_old_blocks_are_strain_too_and_the_reason_is_said() -> None:
    for strain, reason in ((Strain(throttled=True), "throttled"), (Strain(behind_s=3.0), "behind"), (HOT, "hot")):
        governor = Governor(LIMITS, levels=1)
        assert governor.look(strain, now_ns=SECOND) == 1
        assert governor.reason == reason


@given(st.lists(st.tuples(st.floats(0, 30), st.floats(50, 100), st.booleans(), st.floats(0, 5)), max_size=80))
def test_steps_are_single_and_never_hasty(looks: list[tuple[float, float, bool, float]]) -> None:
    governor, now_ns, changed_ns, before = Governor(LIMITS, levels=3), 0, None, 0
    for passed_s, temperature_c, throttled, behind_s in looks:
        now_ns += round(passed_s * SECOND)
        strain = Strain(temperature_c=temperature_c, throttled=throttled, behind_s=behind_s)
        level = governor.look(strain, now_ns=now_ns)
        assert 0 <= level <= 3
        assert abs(level - before) <= 1
        if level != before:
            assert changed_ns is None or now_ns - changed_ns >= 10 * SECOND
            changed_ns = now_ns
        before = level
