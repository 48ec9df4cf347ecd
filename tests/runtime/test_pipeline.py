from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_sdk.base.clock import ClockState
from edge_sdk.base.errors import ConfigError
from edge_sdk.contract.prediction import ContributorState
from edge_sdk.contract.reading import Reading
from edge_sdk.contract.result import FusedResult
from edge_sdk.inference.model import Model
from edge_sdk.runtime.pipeline import Pipeline
from tests.models import LABELS, tiny_bundle

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


def model(directory: Path, name: str, **changes: object) -> Model:
    bundle = tiny_bundle(directory / f"{name}.edge", name=name, sensor=f"{name}-sensor", **changes)  # type: ignore[arg-type]
    return Model.open(bundle, runtime="scripted" if "answers" in changes else None)


def reading(
    sensor: str, first: int, n: int = 4, *, value: float = 0.5, clock: ClockState = ClockState.SYNCED
) -> Reading:
    samples = np.full((n, 2), value, np.float32)
    return Reading(sensor, samples, START + first * SECOND // 2, rate_hz=2.0, clock=clock)


def test_two_sensors_become_one_result_per_window(tmp_path: Path) -> None:
    pipeline = Pipeline([model(tmp_path, "a", seed=1), model(tmp_path, "b", seed=2)], stream="level")

    assert pipeline.push(reading("a-sensor", 0)) == []
    [result] = pipeline.push(reading("b-sensor", 0))

    assert result.t_ns == START + 2 * SECOND
    assert result.label in LABELS
    assert sum(result.probabilities.values()) == pytest.approx(1.0, abs=2e-4)  # type: ignore[union-attr]
    assert [(one.model, one.state) for one in result.contributors] == [("a", "fresh"), ("b", "fresh")]
    assert sum(one.weight for one in result.contributors) == pytest.approx(1.0)
    assert (result.degraded, result.absent, result.method) == (False, (), "log_opinion_pool")


def test_the_fused_answer_is_the_normalised_product_of_the_single_ones(tmp_path: Path) -> None:
    answers = ((0.2, 0.3, 0.5), (0.6, 0.3, 0.1))
    models = [model(tmp_path, name, answers=(answer,)) for name, answer in zip("ab", answers, strict=True)]
    pipeline = Pipeline(models)

    pipeline.push(reading("a-sensor", 0))
    [result] = pipeline.push(reading("b-sensor", 0))

    product = np.sqrt(np.prod(answers, axis=0))
    assert result.probabilities == pytest.approx(dict(zip(LABELS, product / product.sum(), strict=True)), abs=1e-4)


def test_an_absent_sensor_is_waited_for_no_longer_than_the_lateness(tmp_path: Path) -> None:
    pipeline = Pipeline([model(tmp_path, "a", seed=1), model(tmp_path, "b", seed=2)], lateness_s=3.0)

    made = [(n, result) for n in range(0, 12, 2) for result in pipeline.push(reading("a-sensor", n, 2))]

    first_push, first = made[0]
    assert first.t_ns == START + 2 * SECOND
    assert first_push * SECOND // 2 + SECOND >= 5 * SECOND
    assert first.absent == ("b",)
    assert first.degraded
    assert first.contributors[1].state is ContributorState.ABSENT
    assert first.contributors[1].weight == 0.0


def test_a_rejected_window_is_a_contributor_with_its_reason_and_not_an_answer(tmp_path: Path) -> None:
    pipeline = Pipeline([model(tmp_path, "a", seed=1), model(tmp_path, "b", seed=2)])

    pipeline.push(reading("a-sensor", 0, value=1000.0))
    [result] = pipeline.push(reading("b-sensor", 0))

    assert (result.contributors[0].state, result.contributors[0].reason) == (ContributorState.REJECTED, "above_range")
    assert result.contributors[0].weight == 0.0
    assert pipeline.counters["predictions.rejected.above_range"] == 1


def test_no_answer_at_all_is_also_a_result(tmp_path: Path) -> None:
    pipeline = Pipeline([model(tmp_path, "a")])

    [result] = pipeline.push(reading("a-sensor", 0, value=1000.0))

    assert "no_answer" in result.flags
    assert result.degraded
    assert not isinstance(result.label, str)


def test_a_model_that_fails_once_does_not_end_the_stream(tmp_path: Path) -> None:
    import msgspec

    from edge_sdk.contract.bundle import write_bundle
    from tests.models import scripted_model

    good = tiny_bundle(tmp_path / "a.edge", name="a", sensor="a-sensor", answers=((0.1, 0.2, 0.7),))
    files = dict(good.files) | {"script.json": scripted_model((0.1, 0.2, 0.7), fail_at=(0,))}
    bundle = write_bundle(tmp_path / "a.edge", msgspec.structs.replace(good.manifest), files, key=None)
    pipeline = Pipeline([Model.open(bundle, runtime="scripted")])

    results = pipeline.push(reading("a-sensor", 0, 6))

    assert [result.contributors[0].state for result in results] == [ContributorState.FAILED, ContributorState.FRESH]


def test_several_models_of_one_sensor_are_an_ensemble(tmp_path: Path) -> None:
    models = [model(tmp_path, name, seed=seed) for seed, name in enumerate("abc")]
    pipeline = Pipeline(models, sensors=dict.fromkeys("abc", "shared"))

    [result] = pipeline.push(reading("shared", 0))

    assert [one.model for one in result.contributors] == ["a", "b", "c"]
    assert pipeline.counters["windows"] == 1


def test_a_reading_that_nobody_asked_for_is_counted(tmp_path: Path) -> None:
    pipeline = Pipeline([model(tmp_path, "a")])

    assert pipeline.push(reading("stranger", 0)) == []
    assert pipeline.counters["readings.not_used"] == 1


def test_a_reading_with_other_channels_is_counted_and_the_stream_goes_on(tmp_path: Path) -> None:
    pipeline = Pipeline([model(tmp_path, "a")])

    bad = Reading("a-sensor", np.zeros((4, 3), np.float32), START, rate_hz=2.0)

    assert pipeline.push(bad) == []
    assert pipeline.counters["readings.refused"] == 1
    assert len(pipeline.push(reading("a-sensor", 0))) == 1


def test_a_clock_that_cannot_be_believed_shows_in_the_result(tmp_path: Path) -> None:
    pipeline = Pipeline([model(tmp_path, "a")])

    [result] = pipeline.push(reading("a-sensor", 0, clock=ClockState.UNSYNCED))

    assert result.clock is ClockState.UNSYNCED


def test_flush_gives_what_still_waits(tmp_path: Path) -> None:
    pipeline = Pipeline([model(tmp_path, "a", seed=1), model(tmp_path, "b", seed=2)])
    pipeline.push(reading("a-sensor", 0))

    results: list[FusedResult] = pipeline.flush()

    assert [result.absent for result in results] == [("b",)]


def test_models_that_answer_different_questions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="do not answer the same question"):
        Pipeline([model(tmp_path, "a"), model(tmp_path, "b", labels=("x", "y", "z"))])
    with pytest.raises(ConfigError, match="same name"):
        Pipeline([model(tmp_path, "a"), model(tmp_path, "a")])
    with pytest.raises(ConfigError, match="at least one"):
        Pipeline([])


def test_a_sensor_of_long_blocks_is_not_absent_because_another_is_ahead(tmp_path: Path) -> None:
    pipeline = Pipeline([model(tmp_path, "a", seed=1), model(tmp_path, "b", seed=2)], lateness_s=2.0)

    results = []
    for minute in range(3):  # each hands over a minute at once, one after the other
        results += pipeline.push(reading("a-sensor", 120 * minute, 120))
        results += pipeline.push(reading("b-sensor", 120 * minute, 120))

    assert len(results) > 80
    assert all(result.absent == () for result in results)
    assert "predictions.late" not in pipeline.counters


def test_a_sensor_of_long_blocks_that_is_lost_is_waited_for_one_block_longer(tmp_path: Path) -> None:
    pipeline = Pipeline([model(tmp_path, "a", seed=1), model(tmp_path, "b", seed=2)], lateness_s=2.0)
    pipeline.push(reading("b-sensor", 0, 120))
    results = [result for n in range(0, 400, 4) for result in pipeline.push(reading("a-sensor", n))]

    assert results[0].absent == ()
    assert results[-1].absent == ("b",)
    assert START + 200 * SECOND - 65 * SECOND < results[-1].t_ns < START + 200 * SECOND - 59 * SECOND


def test_blocks_in_the_wrong_order_are_sorted_in_where_that_was_asked_for(tmp_path: Path) -> None:
    order = [0, 8, 4, 12, 16, 20]
    strict = Pipeline([model(tmp_path, "a", seed=1)])
    sorting = Pipeline([model(tmp_path, "a", seed=1)], late_samples_s=4.0)

    for first in order:
        strict.push(reading("a-sensor", first))
    results = [result for first in order for result in sorting.push(reading("a-sensor", first))] + sorting.flush()

    assert strict.counters["samples.late"] == 4
    assert "samples.late" not in sorting.counters
    assert [result.t_ns for result in results] == sorted(result.t_ns for result in results)


def test_several_models_on_one_sensor_are_an_ensemble(tmp_path: Path) -> None:
    names = ("bag1", "bag2", "bag3")
    bundles = [
        tiny_bundle(tmp_path / f"{name}.edge", name=name, sensor="one", seed=seed) for seed, name in enumerate(names)
    ]
    pipeline = Pipeline([Model.open(bundle) for bundle in bundles])

    [result] = pipeline.push(reading("one", 0))

    assert [(one.model, one.state.value) for one in result.contributors] == [(name, "fresh") for name in names]
    assert pipeline.counters["windows"] == 1


def test_a_base_is_joined_by_what_lies_nearest_to_it(tmp_path: Path) -> None:
    models = [model(tmp_path, "a", seed=1), model(tmp_path, "b", seed=2)]
    pipeline = Pipeline(models, align="basepad", base="a", tolerance_s=1.0)

    pipeline.push(reading("a-sensor", 0, 8))
    results = pipeline.push(reading("b-sensor", 2, 8))

    assert [result.absent for result in results] == [(), (), ()]
    with pytest.raises(ConfigError, match="wants a base"):
        Pipeline(models, align="basepad")
