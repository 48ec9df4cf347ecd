from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from edge_sdk.inference.model import Model
from edge_sdk.runtime.plan import TINY_S, measure, plan, share, usable_cores
from tests.models import tiny_bundle


def test_a_tiny_model_stays_where_its_window_is_cut() -> None:
    plans = plan({"tiny": {1: 0.0001}, "large": {1: 0.1, 4: 0.03}}, cores=4)

    assert (plans["tiny"].pooled, plans["tiny"].threads) == (False, 1)
    assert (plans["large"].pooled, plans["large"].threads) == (True, 4)


def test_threads_that_do_not_pay_are_not_given() -> None:
    assert plan({"large": {1: 0.1, 2: 0.09, 4: 0.08}}, cores=4)["large"].threads == 1


@given(
    st.dictionaries(st.text(max_size=3), st.floats(1e-5, 1.0), min_size=1, max_size=8),
    st.integers(1, 8),
    st.floats(0.3, 1.0),
)
def test_all_large_models_together_never_have_more_threads_than_cores(
    single_s: dict[str, float], cores: int, efficiency: float
) -> None:
    seconds = {
        name: {n: one if n == 1 else one / (n * efficiency) for n in range(1, 9)} for name, one in single_s.items()
    }

    plans = plan(seconds, cores=cores)

    large = [one.threads for one in plans.values() if one.pooled]
    assert all(threads <= share(single_s, cores=cores) for threads in large)
    if len(large) <= cores:
        assert sum(large) <= cores
    assert {name for name, one in plans.items() if not one.pooled} == {n for n, s in single_s.items() if s < TINY_S}


def test_a_call_is_measured_here(tmp_path: Path) -> None:
    assert 0 < measure(Model.open(tiny_bundle(tmp_path / "tiny.edge"))) < 10
    assert usable_cores() >= 1
