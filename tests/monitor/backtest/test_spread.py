"""Stations are divided into tasks that are alike in size."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from edge_sdk.monitor.backtest.spread import spread

SIZES = st.dictionaries(st.tuples(st.sampled_from(["", "hall"]), st.text(max_size=3)), st.integers(1, 100), max_size=6)


def loads(sizes: dict[tuple[str, str], int], tasks: dict[tuple[str, str], int]) -> list[int]:
    """Rows of each task."""
    return [
        sum(sizes[one] for one in sizes if tasks[one] == task) for task in range(max(tasks.values(), default=-1) + 1)
    ]


def test_eight_stations_alike_are_two_for_each_of_four_tasks() -> None:
    sizes = {("roof", f"s{number}"): 20_000 for number in range(8)}

    assert loads(sizes, spread(sizes, 4)) == [40_000] * 4


def test_the_largest_comes_first_and_alone() -> None:
    sizes = {("", "small"): 10, ("", "large"): 100, ("", "middle"): 30}

    assert spread(sizes, 2) == {("", "large"): 0, ("", "middle"): 1, ("", "small"): 1}


@given(SIZES, st.integers(1, 3))
def test_every_station_has_a_task_and_no_task_has_much_more_than_the_best_division(
    sizes: dict[tuple[str, str], int], tasks: int
) -> None:
    found = spread(sizes, tasks)

    assert found.keys() == sizes.keys()
    each = loads(sizes, found)
    assert each == sorted(each, reverse=True)
    assert len(each) == min(tasks, len(sizes))
    if sizes:
        best = min(
            max(loads(sizes, dict(zip(sizes, choice, strict=True))))
            for choice in product(range(tasks), repeat=len(sizes))
        )
        assert max(each) <= best * (4 / 3)
