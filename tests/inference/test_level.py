from __future__ import annotations

import numpy as np
import pytest

from edge_sdk.base.errors import BundleFormatError
from edge_sdk.contract.manifest import Step
from edge_sdk.inference.level import Decibel
from edge_sdk.inference.preprocess import Preprocess


def test_ten_times_the_amplitude_is_twenty_decibels_more_and_silence_is_the_floor() -> None:
    samples = np.array([[[0.99, 9.99], [0.0, -3.0]]], dtype=np.float32)
    level = Decibel(Decibel.Options(floor=0.01)).apply(samples)
    np.testing.assert_allclose(level, [[[0.0, 20.0], [-40.0, -40.0]]], atol=1e-4)
    assert level.dtype == np.float32
    assert samples[0, 0, 0] == np.float32(0.99)


@pytest.mark.parametrize("floor", [0.0, -1.0, float("nan"), float("inf")])
def test_a_floor_that_is_none_is_refused(floor: float) -> None:
    with pytest.raises(BundleFormatError, match="floor above 0"):
        Preprocess.of([Step(kind="decibel", options={"floor": floor})])
