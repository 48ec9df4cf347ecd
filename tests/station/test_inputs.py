"""Inputs in short."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge_sdk.contract.window import Window
from edge_sdk.station.inputs import CHANNELS, summary


def window(samples: object) -> Window:
    return Window(sensor="thing", start_ns=0, end_ns=10**9, samples=np.asarray(samples, np.float32))


@given(arrays(np.float32, st.tuples(st.integers(1, 20), st.integers(1, 4)), elements=st.floats(-1e6, 1e6, width=32)))
def test_each_channel_is_told_by_its_mean_and_spread(
    samples: np.ndarray[tuple[int, int], np.dtype[np.float32]],
) -> None:
    found = summary(window(samples))

    assert found is not None
    size = 1e-5 * (1 + float(np.abs(samples).max()))
    assert found.mean == pytest.approx(samples.astype(np.float64).mean(axis=0).tolist(), rel=1e-5, abs=size)
    assert found.spread == pytest.approx(samples.astype(np.float64).std(axis=0).tolist(), rel=1e-5, abs=size)


def test_a_picture_is_told_by_all_of_it_together() -> None:
    found = summary(window(np.tile([0.0, 2.0], (3, CHANNELS))))

    assert found is not None
    assert (found.mean, found.spread) == ((1.0,), (1.0,))


def test_a_window_that_holds_no_number_is_not_told() -> None:
    assert summary(window([[np.nan, 1.0]])) is None
    assert summary(window(np.empty((0, 2)))) is None
