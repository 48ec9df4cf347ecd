from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sdk.base.clock import ManualClock, SystemClock
from edge_sdk.contract.envelope import encode_body
from edge_sdk.contract.reading import Reading
from edge_sdk.contract.result import FusedResult
from edge_sdk.inference.model import Model
from edge_sdk.runtime.budget import Budget
from edge_sdk.runtime.overload import Overload
from edge_sdk.runtime.pipeline import Pipeline
from edge_sdk.runtime.plan import ModelPlan
from edge_sdk.runtime.scheduler import Scheduler
from tests.models import tiny_bundle

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
NAMES = ("one", "two", "three")


def readings(sizes: Sequence[int], *, came_ns: int = 0, first: int = 0) -> list[Reading]:
    """Blocks of both sensors in turn, 2 Hz; a window of 4 samples ends with every second one."""
    blocks = []
    for size in sizes:
        for sensor in ("left", "right"):
            samples = np.random.default_rng(first).normal(size=(size, 2)).astype(np.float32)
            start_ns = START + first * SECOND // 2
            blocks.append(Reading(sensor, samples, start_ns, rate_hz=2.0, observed_ns=start_ns, monotonic_ns=came_ns))
        first += size
    return blocks


@pytest.fixture
def models(tmp_path: Path) -> list[Model]:
    sensors = ("left", "right", "left")
    return [
        Model.open(tiny_bundle(tmp_path / f"{name}.edge", name=name, sensor=sensor, seed=seed))
        for seed, (name, sensor) in enumerate(zip(NAMES, sensors, strict=True))
    ]


def bodies(results: Sequence[FusedResult]) -> list[bytes]:
    return [encode_body(result) for result in results]


def pooled(*names: str, threads: int = 1) -> dict[str, ModelPlan]:
    return {name: ModelPlan(model=name, threads=threads, pooled=True, seconds={1: 0.1}) for name in names}


@pytest.mark.parametrize("beside", [(), ("one",), ("one", "two"), NAMES])
@pytest.mark.parametrize("cores", [1, 2])
def test_models_side_by_side_answer_as_they_do_in_turn(
    models: list[Model], beside: tuple[str, ...], cores: int
) -> None:
    blocks = readings([4, 3, 9, 1, 6])
    pipeline = Pipeline(models)
    in_turn = [result for block in blocks for result in pipeline.push(block)] + pipeline.flush()

    stream = Scheduler(Pipeline(models), clock=ManualClock(), plans=pooled(*beside), budget=Budget(cores))
    together = stream.push(blocks[:3]) + stream.push(blocks[3:]) + stream.flush()
    stream.close()

    assert len(in_turn) > 8
    assert bodies(together) == bodies(in_turn)


@pytest.mark.parametrize("beside", [(), NAMES])
def test_it_is_known_how_long_each_call_took(models: list[Model], beside: tuple[str, ...]) -> None:
    scheduler = Scheduler(Pipeline(models), clock=SystemClock(), plans=pooled(*beside))

    scheduler.push(readings([4, 2, 2]))
    scheduler.close()

    assert {name: len(latency) for name, latency in scheduler.latencies.items()} == dict.fromkeys(NAMES, 3)
    assert all(latency.total_s > 0 for latency in scheduler.latencies.values())


def test_under_the_policy_latest_only_the_newest_whole_moment_of_what_waits_is_predicted(models: list[Model]) -> None:
    stream = Scheduler(Pipeline(models), clock=ManualClock(), overload=Overload(policy="latest"))

    results = stream.push(readings([40])) + stream.flush()

    assert [result.t_ns for result in results] == [START + 20 * SECOND]
    assert not results[0].degraded
    assert stream.counters.all()["windows.skipped.overload"] == 3 * (len(_ends(models)) - 1)


def test_what_is_given_up_never_makes_a_result_degraded(models: list[Model]) -> None:
    stream = Scheduler(Pipeline(models), clock=ManualClock(), overload=Overload(policy="every_nth", n=3))

    results = stream.push(readings([40])) + stream.flush()

    assert 1 < len(results) < len(_ends(models))
    assert not any(result.degraded for result in results)


def test_a_stream_that_keeps_up_gives_nothing_up(models: list[Model]) -> None:
    stream = Scheduler(Pipeline(models), clock=ManualClock(), overload=Overload(policy="latest"))

    results = [result for block in readings([2] * 12) for result in stream.push([block])]

    assert len(results) > 8
    assert stream.counters.all() == {}


def test_windows_past_their_deadline_are_given_up_and_counted(models: list[Model]) -> None:
    clock = ManualClock(monotonic=10 * SECOND)
    stream = Scheduler(Pipeline(models), clock=clock, deadline_ns=3 * SECOND)

    late = stream.push(readings([8], came_ns=6 * SECOND))
    in_time = stream.push(readings([8], came_ns=8 * SECOND, first=8))

    assert late == []
    assert len(in_time) == 4
    assert stream.counters.all()["windows.skipped.deadline"] > 0
    assert stream.behind_s() == 4.0
    assert stream.behind_s() == 0.0


def test_every_second_window_is_the_same_one_for_all_models(models: list[Model]) -> None:
    stream = Scheduler(Pipeline(models), clock=ManualClock())
    stream.every = 2

    results = [result for block in readings([3] * 16) for result in stream.push([block])]

    assert {b.t_ns - a.t_ns for a, b in itertools.pairwise(results)} == {2 * SECOND}
    assert not any(result.degraded for result in results)


def test_a_replaced_model_answers_from_then_on(models: list[Model], tmp_path: Path) -> None:
    other = Model.open(tiny_bundle(tmp_path / "again.edge", name="two", sensor="right", seed=1), runtime="onnxruntime")
    pipeline = Pipeline(models)
    stream = Scheduler(pipeline, clock=ManualClock())
    before = stream.push(readings([8]))

    pipeline.replace(models[1], other)
    after = stream.push(readings([8], first=8))

    assert before
    assert after
    assert pipeline.models[1] is other
    assert not any(result.degraded for result in after)


ENDS = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 30)), max_size=60)


@given(waiting=ENDS, policy=st.sampled_from(("wait", "latest", "every_nth", "queue")), n=st.integers(1, 5))
def test_no_policy_gives_up_the_newest_word(waiting: list[tuple[str, int]], policy: str, n: int) -> None:
    wanted = Overload(policy=policy, n=n).wanted(waiting)  # type: ignore[arg-type]

    ends = {end for _, end in waiting}
    assert wanted <= ends
    models = {model for model, _ in waiting}
    whole = [end for end in ends if {model for model, at in waiting if at == end} == models]
    newest = max(whole, default=max(ends, default=0))
    assert {end for end in ends if end >= newest} <= wanted
    settled = {end for end in wanted if end <= newest}
    if policy in {"latest", "queue"} and ends:
        assert len(settled) <= (1 if policy == "latest" else n)


def _ends(models: list[Model]) -> list[FusedResult]:
    stream = Scheduler(Pipeline(models), clock=ManualClock())
    return stream.push(readings([40])) + stream.flush()
