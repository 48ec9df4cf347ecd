from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_sdk.base.clock import ClockState
from edge_sdk.base.errors import ConfigError, ReadingError
from edge_sdk.contract.manifest import Windowing
from edge_sdk.contract.reading import Reading
from edge_sdk.contract.window import Window
from edge_sdk.windowing.windower import Windower
from tests.windowing import oracle

T0 = 1_767_225_600_000_000_000  # a multiple of every period used here
HZ = 8.0
PERIOD = 125_000_000
K0 = T0 // PERIOD


def spec(length: int = 4, stride: int = 2, minimum: float = 0.75) -> Windowing:
    return Windowing(length=length, stride=stride, rate_hz=HZ, minimum_coverage=minimum)


def rows(n: int, first: float = 0.0, channels: int = 1) -> NDArray[np.float32]:
    return (first + np.arange(n, dtype=np.float32))[:, None] * np.ones((1, channels), dtype=np.float32)


def block(cell: int, n: int, *, phase_ns: int = 0, first: float | None = None) -> Reading:
    start = T0 + cell * PERIOD + phase_ns
    return Reading("s", rows(n, float(cell) if first is None else first), start, rate_hz=HZ)


def windower(lateness_ns: int = 0, **changes: int) -> Windower:
    return Windower(spec(**changes), sensor="s", channels=1, lateness_ns=lateness_ns)


def run(one: Windower, readings: Iterable[Reading]) -> list[Window]:
    made = [window for reading in readings for window in one.push(reading)]
    return made + one.flush()


def same(ours: Sequence[Window], want: Sequence[oracle.Expected]) -> None:
    assert [window.end_ns for window in ours] == [T0 + one.end * PERIOD for one in want]
    for window, one in zip(ours, want, strict=True):
        assert window.coverage == pytest.approx(one.coverage)
        np.testing.assert_allclose(window.samples, one.samples, rtol=1e-4, atol=1e-4)


def identical(ours: Sequence[Window], others: Sequence[Window]) -> None:
    assert [(w.start_ns, w.end_ns, w.coverage) for w in ours] == [(w.start_ns, w.end_ns, w.coverage) for w in others]
    for window, other in zip(ours, others, strict=True):
        np.testing.assert_array_equal(window.samples, other.samples)


cuts_and_gaps = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from([0, 0, 0, 1, 2, 5, 9, 30])), min_size=1, max_size=8
)
shapes = st.tuples(st.integers(1, 7), st.integers(1, 9))


@given(blocks=cuts_and_gaps, shape=shapes, first=st.integers(0, 9), phase=st.floats(-0.45, 0.45), holes=st.randoms())
@settings(max_examples=150)
def test_blocks_on_the_rate_give_the_windows_that_the_oracle_says(
    blocks: list[tuple[int, int]], shape: tuple[int, int], first: int, phase: float, holes: object
) -> None:
    length, stride = shape
    cell, readings, samples = first, [], []
    for n, gap in blocks:
        cell += gap
        data = rows(n, float(cell)) ** 2 % 17
        for i in range(n):
            if holes.random() < 0.1:  # type: ignore[attr-defined]
                data[i] = np.nan
            else:
                samples.append((float(cell + i), [float(data[i, 0])]))
        readings.append(Reading("s", data, T0 + cell * PERIOD + round(phase * PERIOD), rate_hz=HZ))
        cell += n

    made = run(windower(length=length, stride=stride), readings)

    same(made, oracle.windows(spec(length, stride), samples))


@given(
    steps=st.lists(st.integers(1, 40), min_size=1, max_size=40),
    start=st.integers(0, 40),
    shape=shapes,
    cuts=st.sets(st.integers(1, 39), max_size=6),
)
@settings(max_examples=150)
def test_samples_at_any_times_give_the_windows_that_the_oracle_says(
    steps: list[int], start: int, shape: tuple[int, int], cuts: set[int]
) -> None:
    length, stride = shape
    eighths = start + np.cumsum(steps)
    times = T0 + eighths * (PERIOD // 8)
    data = rows(len(steps)) ** 2 % 17
    bounds = sorted({0, len(steps), *(cut for cut in cuts if cut < len(steps))})
    readings = [
        Reading("s", data[low:high], int(times[low]), times_ns=times[low:high])
        for low, high in itertools.pairwise(bounds)
    ]

    made = run(windower(length=length, stride=stride), readings)

    samples = [(e / 8, [float(v)]) for e, v in zip(eighths.tolist(), data[:, 0].tolist(), strict=True)]
    same(made, oracle.windows(spec(length, stride), samples))


@given(n=st.integers(8, 60), order=st.randoms(), shape=shapes)
@settings(max_examples=60)
def test_late_and_doubled_blocks_within_the_lateness_change_nothing(
    n: int, order: object, shape: tuple[int, int]
) -> None:
    length, stride = shape
    blocks = [block(cell, 3) for cell in range(0, 3 * n, 3)]
    shuffled = sorted(
        [(i + 4 * order.random(), one) for i, one in enumerate(blocks)]  # type: ignore[attr-defined]
        + [(i + 1 + 3 * order.random(), one) for i, one in enumerate(blocks) if i % 5 == 0],  # type: ignore[attr-defined]
        key=lambda pair: pair[0],
    )
    late = windower(lateness_ns=6 * 3 * PERIOD, length=length, stride=stride)

    made = run(late, [one for _, one in shuffled])

    identical(made, run(windower(length=length, stride=stride), blocks))
    assert late.counters.get("samples.duplicate", 0) + late.counters.get("samples.late", 0) == 3 * -(-n // 5)


@given(
    n=st.integers(6, 30),
    where=st.integers(1, 29),
    bad=st.sampled_from([0, 1_000_000_000, 7_258_118_400_000_000_000, T0 + 10**15, T0 - 10**15, -1, 2**63 - 2]),
)
@settings(max_examples=60)
def test_one_bad_timestamp_never_poisons_the_stream(n: int, where: int, bad: int) -> None:
    where = min(where, n - 1)
    good = [block(cell, 3) for cell in range(0, 3 * n, 3)]
    one = windower()

    made = run(one, [*good[:where], Reading("s", rows(3), bad, rate_hz=HZ), *good[where:]])

    identical(made, run(windower(), good))
    assert one.counters == {"samples.bad_time": 3}


def test_one_bad_time_among_the_samples_of_a_block_never_poisons_the_stream() -> None:
    times = T0 + np.arange(40, dtype=np.int64) * PERIOD
    times[[7, 23]] = [1, 7_258_118_400_000_000_000]
    one = windower()

    made = run(one, [Reading("s", rows(40), T0, times_ns=times)])

    assert one.counters == {"samples.bad_time": 2}
    assert len(made) == 19
    assert sum(window.coverage < 1 for window in made) == 4


@pytest.mark.parametrize("step_s", [3600, -3600])
def test_a_clock_that_was_set_is_believed_after_three_blocks_that_agree(step_s: int) -> None:
    one = windower()
    before = [block(cell, 4) for cell in range(0, 40, 4)]
    after = [block(cell + round(step_s * HZ), 4) for cell in range(40, 80, 4)]

    made = run(one, [*before, *after])

    assert one.counters.get("clock.steps") == 1
    assert "samples.bad_time" not in one.counters
    full = [window for window in made if window.coverage == 1]
    assert len(full) == 2 * 19
    assert full[-1].end_ns == T0 + 80 * PERIOD + step_s * 1_000_000_000


def test_two_sensors_that_start_at_different_times_make_windows_with_the_same_ends() -> None:
    ends = [
        {window.end_ns for window in run(windower(), [block(cell, 30, phase_ns=phase)])}
        for cell, phase in ((0, 0), (3, 40_000_000), (5, -60_000_000))
    ]

    assert len(ends[0] & ends[1] & ends[2]) >= 12
    assert all(end % (2 * PERIOD) == 0 for each in ends for end in each)


def test_a_window_is_made_with_the_sample_that_completes_it() -> None:
    one = windower()
    assert one.push(block(0, 3)) == []
    [window] = one.push(block(3, 1))
    assert (window.start_ns, window.end_ns, window.coverage) == (T0, T0 + 4 * PERIOD, 1.0)
    assert one.watermark_ns == T0 + 4 * PERIOD


def test_a_block_that_is_a_window_is_handed_on_and_what_comes_behind_it_is_cut_as_ever() -> None:
    images = [block(cell, 4) for cell in (0, 4, 8)]
    halves, gap = [block(cell, 2) for cell in (12, 14, 16)], [block(70, 4), block(74, 4)]
    one = windower(length=4, stride=4)

    made = [window for reading in images for window in one.push(reading)]

    assert [np.shares_memory(window.samples, image.samples) for window, image in zip(made, images, strict=True)] == [
        False,  # the first block of a stream goes the long way
        True,
        True,
    ]
    made += [window for reading in [*halves, *gap] for window in one.push(reading)] + one.flush()
    identical(
        made,
        run(windower(length=4, stride=4), [piece for whole in [*images, *halves, *gap] for piece in single(whole)]),
    )


def single(reading: Reading) -> list[Reading]:
    """The same samples, one a block."""
    starts = [reading.start_ns + i * PERIOD for i in range(len(reading.samples))]
    return [Reading("s", reading.samples[i : i + 1], start, rate_hz=HZ) for i, start in enumerate(starts)]


def test_on_the_rate_values_are_untouched_whatever_the_phase() -> None:
    [window, *_] = run(windower(), [block(0, 8, phase_ns=50_000_000)])
    assert window.samples[:, 0].tolist() == [0, 1, 2, 3]


def test_jitter_around_half_a_period_neither_loses_nor_doubles_a_sample() -> None:
    jitter = [58, 66, 61, 70, 55, 64, 62.5]
    one = windower()
    made = run(one, [block(2 * i, 2, phase_ns=round(jitter[i % 7] * 1e6)) for i in range(50)])
    assert one.counters == {}
    assert all(window.coverage == 1 for window in made)


def test_a_drifting_clock_slips_single_samples_and_no_more() -> None:
    one = windower()
    made = run(one, [block(2 * i, 2, phase_ns=i * 5_000_000) for i in range(100)])  # 2 % slow
    assert sum(window.coverage == 1 for window in made) >= 80
    assert min(window.coverage for window in made) >= 0.75


def test_a_long_gap_costs_no_memory_and_gives_no_windows_inside_it() -> None:
    one = windower()
    made = run(one, [block(0, 8), *(block(10**7 + cell, 1) for cell in range(12))])
    assert len(made) < 12
    assert len(one._cells) == 4 * 4 + 4096


def test_observed_time_and_clock_are_those_of_the_last_reading_in_the_window() -> None:
    one = Windower(spec(), sensor="s", channels=1, lateness_ns=2 * PERIOD)
    made = []
    for cell in range(0, 16, 2):
        made += one.push(
            Reading(
                "s",
                rows(2),
                T0 + cell * PERIOD,
                rate_hz=HZ,
                observed_ns=cell + 2,
                clock=ClockState.UNSYNCED if cell < 8 else ClockState.SYNCED,
            )
        )
    assert [window.observed_ns for window in made] == [4, 6, 8, 10, 12, 14]
    assert [window.clock.value for window in made] == ["unsynced"] * 3 + ["synced"] * 3


def test_a_slow_sensor_that_declares_its_rate_is_interpolated_and_counts_as_measured() -> None:
    slow = Reading("s", rows(5, 0.0), T0, rate_hz=HZ / 4)
    made = run(windower(), [slow])
    assert all(window.coverage == 1 for window in made[:-1])
    np.testing.assert_allclose(made[1].samples[:, 0], [0.5, 0.75, 1.0, 1.25])


def test_windows_do_not_change_when_later_samples_arrive() -> None:
    one = windower()
    [window] = one.push(block(0, 4))
    before = window.samples.copy()
    run(one, [block(cell, 4) for cell in range(4, 9000, 4)])
    np.testing.assert_array_equal(window.samples, before)


def test_a_reading_of_another_sensor_or_shape_is_refused() -> None:
    with pytest.raises(ReadingError, match="'t'"):
        windower().push(Reading("t", rows(2), T0, rate_hz=HZ))
    with pytest.raises(ReadingError, match="2 channels"):
        windower().push(Reading("s", rows(2, channels=2), T0, rate_hz=HZ))


@pytest.mark.parametrize("changes", [{"length": 0}, {"stride": 0}, {"lateness_ns": -1}])
def test_an_impossible_windowing_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        windower(**changes)


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    offset_ns=st.integers(-9_000_000, 9_000_000),
    bad=st.sets(st.integers(0, 200), max_size=3),
)
@settings(max_examples=100)
def test_how_a_stream_is_cut_into_blocks_changes_nothing(sizes: list[int], offset_ns: int, bad: set[int]) -> None:
    n, spec = sum(sizes), Windowing(length=20, stride=5, rate_hz=50.0)
    samples = np.random.default_rng(n).normal(size=(n, 2)).astype(np.float32)
    samples[[row for row in bad if row < n]] = np.nan
    start_ns = 1_700_000_000_000_000_000 + offset_ns

    def made(cuts: list[int]) -> list[tuple[int, float, bytes]]:
        windower, first, windows = Windower(spec, sensor="s", channels=2), 0, []
        for size in cuts:
            block = samples[first : first + size]
            windows += windower.push(Reading("s", block, start_ns + first * 20_000_000, rate_hz=50.0))
            first += size
        windows += windower.flush()
        return [(window.end_ns, window.coverage, window.samples.tobytes()) for window in windows]

    assert made(sizes) == made([n])
