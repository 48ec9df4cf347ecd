from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sdk.contract.manifest import Step
from edge_sdk.contract.tensor import TensorSpec
from edge_sdk.inference.preprocess import Preprocess
from edge_sdk.inference.quantizer import Quantizer

reals = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=40)
scales = st.floats(2**-10, 10, width=32)


def spec(dtype: str = "int8", scale: float = 0.5, zero_point: int = 3) -> TensorSpec:
    return TensorSpec(name="x", shape=(1,), dtype=dtype, scale=scale, zero_point=zero_point)


@pytest.mark.parametrize(("dtype", "ends"), [("int8", [-128, 127]), ("uint8", [0, 255]), ("int16", [-32768, 32767])])
def test_what_lies_beyond_the_type_saturates(dtype: str, ends: list[int]) -> None:
    stored = Quantizer(spec(dtype)).quantize(np.array([-1e9, 1e9], np.float32))

    assert stored.dtype == dtype
    assert stored.tolist() == ends


def test_half_way_goes_to_the_even_neighbour() -> None:
    assert Quantizer(spec(zero_point=0)).quantize(np.array([0.25, 0.75, -0.25], np.float32)).tolist() == [0, 2, 0]


def test_a_tensor_of_real_numbers_is_left_as_it_is() -> None:
    plain, given = Quantizer(spec("float32", scale=0.0)), np.array([0.1, -7.0], np.float32)

    assert plain.quantize(given).tolist() == plain.dequantize(given).tolist() == given.tolist()


@given(numbers=reals, scale=scales)
def test_a_step_is_the_most_that_is_lost_within_the_range(numbers: list[float], scale: float) -> None:
    tensor = Quantizer(spec("int16", scale=scale, zero_point=0))
    real = np.clip(np.array(numbers, np.float32), -30_000 * scale, 30_000 * scale)

    assert np.abs(tensor.dequantize(tensor.quantize(real)) - real).max() <= 0.51 * scale


@given(numbers=reals, scale=scales, zero_point=st.integers(-128, 127), low=st.floats(-50, 0, width=32))
def test_cutting_off_beforehand_is_saturating_earlier(
    numbers: list[float], scale: float, zero_point: int, low: float
) -> None:
    tensor, real = spec(scale=scale, zero_point=zero_point), np.array(numbers, np.float32)
    high = low + 60.0

    together = Quantizer(tensor, minimum=low, maximum=high).quantize(real)

    cut = np.minimum(np.maximum(real, np.float32(low)), np.float32(high))
    np.testing.assert_array_equal(together, Quantizer(tensor).quantize(cut))


@given(seed=st.integers(0, 99), dtype=st.sampled_from(["int8", "uint8", "int16", "float32"]), cut=st.booleans())
def test_preprocessing_into_a_tensor_is_preprocessing_and_then_storing(seed: int, dtype: str, cut: bool) -> None:
    samples = np.random.default_rng(seed).normal(0, 9, (16, 3)).astype(np.float32)
    steps = [Step(kind="standardize", options={"mean": [0.1, -2.0, 3.0], "std": [1.5, 0.2, 7.0]})]
    steps += [Step(kind="clip", options={"minimum": -3.0, "maximum": 2.0})] if cut else []
    tensor, preprocess = spec(dtype, scale=0.0 if dtype == "float32" else 0.04), Preprocess.of(steps)

    stored = preprocess.into(tensor)(samples)

    assert stored.dtype == dtype
    np.testing.assert_array_equal(stored, Quantizer(tensor).quantize(preprocess.apply(samples)))
