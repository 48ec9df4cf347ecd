from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_sdk.base.clock import SystemClock
from edge_sdk.contract.reading import Reading
from edge_sdk.sensors.faults import Delivery, Fault, FaultKind, Faults
from edge_sdk.sensors.simulated import Simulated
from tests.sensors.test_conformance import until

pytestmark = pytest.mark.anyio
CALM = np.ones((2, 1), np.float32)


def spoilt(kind: FaultKind, *, at_s: float = 1.0, **more: Any) -> list[Delivery]:
    faults = Faults([Fault(kind=kind, every_s=10, for_s=3, **more)], np.random.default_rng(0))
    faults._last = np.zeros(1, np.float32)
    return faults.spoil(at_s, CALM)


def test_a_gap_is_nothing_and_a_duplicate_is_twice() -> None:
    assert spoilt("gap") == []
    assert len(spoilt("duplicate")) == 2


def test_between_two_faults_all_is_well() -> None:
    for at_s in (3.5, 9.9, 13.5):
        [well] = spoilt("gap", at_s=at_s)
        assert well.samples is CALM
    assert spoilt("gap", at_s=11.0) == []
    assert len(spoilt("gap", at_s=11.0, after_s=5)) == 1


def test_each_kind_spoils_what_it_says() -> None:
    assert spoilt("stuck")[0].samples.tolist() == [[0], [0]]
    assert np.isnan(spoilt("nan")[0].samples).all()
    assert spoilt("drift", at_s=2.0, amount=0.5)[0].samples.tolist() == [[2], [2]]
    assert spoilt("noise", amount=9)[0].samples.std() > 0
    assert spoilt("late", amount=4)[0].later_s == 4
    assert spoilt("backward", amount=7)[0].shift_s == -7


async def measured(n: int, **options: Any) -> list[Reading]:
    sensor = Simulated("thing", Simulated.Options(rate_hz=100, block_s=0.02, **options), clock=SystemClock())
    return await until(sensor.run, n)


async def test_the_same_seed_gives_the_same_noise() -> None:
    one, other = [await measured(3, seed=7, swing=0) for _ in range(2)]

    for this, that in zip(one, other, strict=True):
        np.testing.assert_array_equal(this.samples, that.samples)


async def test_a_late_block_comes_after_its_successors_with_its_own_time() -> None:
    fault = Fault(kind="late", every_s=100, for_s=0.02, after_s=0.02, amount=0.05)

    came = await measured(6, faults=(fault,))

    starts = [reading.start_ns for reading in came]
    assert starts != sorted(starts)
    assert len(set(starts)) == 6


async def test_times_that_go_backward_and_blocks_that_come_twice_are_there() -> None:
    backward = Fault(kind="backward", every_s=100, for_s=0.02, after_s=0.02, amount=30)
    twice = Fault(kind="duplicate", every_s=100, for_s=0.02, after_s=0.04)

    came = await measured(4, faults=(backward, twice))

    assert came[1].start_ns < came[0].start_ns
    assert came[2].start_ns == came[3].start_ns
