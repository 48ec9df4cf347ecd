from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sdk.base.errors import ConfigError
from edge_sdk.contract.manifest import Channel, Manifest, Variant, Windowing
from edge_sdk.contract.tensor import TensorSpec
from edge_sdk.contract.window import Window
from edge_sdk.inference.guards import ChannelGuard, Guards, InputGuard, OutputGuard, refuse_probabilities, sum_tolerance

RATE_HZ, LENGTH, STRIDE = 2.0, 4, 2
STEP_NS = round(1e9 / RATE_HZ)
CHANNELS = (
    Channel(name="a", minimum=-10.0, maximum=10.0, maximum_rate=8.0, stuck_after_s=6.0),
    Channel(name="b"),
)


def manifest(**changes: Any) -> Manifest:
    made = Manifest(
        name="m",
        task="classification",
        sensor="s",
        channels=CHANNELS,
        windowing=Windowing(length=LENGTH, stride=STRIDE, rate_hz=RATE_HZ, minimum_coverage=0.8),
        labels=("low", "high"),
        variants=(),
        files={},
    )
    return msgspec.structs.replace(made, **changes)


def cut(a: list[float], *, at: int = 0, coverage: float = 1.0) -> Window:
    """A window whose channel a is given and whose channel b counts up; it begins at sample `at`."""
    samples = np.stack([a, np.arange(at, at + len(a))], axis=1).astype(np.float32)
    return Window("s", at * STEP_NS, (at + len(a)) * STEP_NS, samples, coverage=coverage)


def refusals(a: list[float], guard: InputGuard, *, stride: int = STRIDE) -> list[str]:
    """What is said of each window that the series gives."""
    return [guard.refuse(cut(a[at : at + LENGTH], at=at)) for at in range(0, len(a) - LENGTH + 1, stride)]


@given(st.lists(st.floats(-1.75, 1.75, width=32), min_size=LENGTH, max_size=40), st.floats(0.8, 1.0))
def test_what_keeps_every_limit_is_never_refused(a: list[float], coverage: float) -> None:
    """Steps of less than 8 a second, within the range; no longer than what would be stuck."""
    guard = InputGuard(manifest())

    for at in range(0, min(len(a), 11) - LENGTH + 1, STRIDE):
        assert guard.refuse(cut(a[at : at + LENGTH], at=at, coverage=coverage)) == ""


@given(
    st.integers(0, LENGTH - 1),
    st.sampled_from([(np.nan, "not_finite"), (-np.inf, "not_finite"), (10.5, "above_range"), (-11.0, "below_range")]),
)
def test_one_impossible_sample_is_enough(index: int, bad: tuple[float, str]) -> None:
    a = [0.0, 1.0, 0.0, 1.0]
    a[index] = bad[0]

    assert InputGuard(manifest()).refuse(cut(a)) == bad[1]


def test_a_wrong_number_of_channels_and_of_samples_are_told_apart() -> None:
    guard = InputGuard(manifest())

    assert guard.refuse(Window("s", 0, 1, np.zeros((LENGTH, 3), np.float32))) == "channels"
    assert guard.refuse(Window("s", 0, 1, np.zeros((LENGTH, 1), np.float32))) == "channels"
    assert guard.refuse(Window("s", 0, 1, np.zeros((LENGTH + 1, 2), np.float32))) == "length"
    assert guard.refuse(cut([0, 1, 0, 1], coverage=0.79)) == "coverage"


def test_a_change_that_is_too_quick_is_refused_in_a_window_and_between_two() -> None:
    assert refusals([0, 0.5, 1, 1.5, 2, 2.5, 7, 7.5], InputGuard(manifest())) == ["", "", "rate"]
    beside = refusals([0, 0.5, 1, 1.5, 6, 6.5, 7, 7.5, 8, 8.5, 9, 9.5], InputGuard(manifest()), stride=LENGTH)
    assert beside == ["", "rate", ""]


def test_a_value_that_never_changes_is_refused_after_its_time_and_believed_again_when_it_moves() -> None:
    still = [0.0, 1.0] + [2.0] * 16 + [2.5, 2.0, 2.5, 2.0]

    said = refusals(still, InputGuard(manifest()))

    # the value stands from 1 s on; windows end at 2, 3, 4 … s; 6 s later is too long
    assert said == ["", "", "", "", "", "stuck", "stuck", "stuck", "", ""]


def test_a_gap_does_not_count_as_standing_still() -> None:
    guard = InputGuard(manifest())
    flat = [2.0] * LENGTH

    assert guard.refuse(cut(flat, at=0)) == ""
    assert guard.refuse(cut(flat, at=100)) == ""
    assert guard.refuse(cut(flat, at=102)) == ""


def test_a_channel_without_a_limit_may_do_anything() -> None:
    bare = manifest(channels=(Channel(name="a"), Channel(name="b")))

    assert refusals([1e30] * 40, InputGuard(bare))[-1] == ""
    assert refusals([-1e30, 1e30] * 20, InputGuard(bare))[-1] == ""


def test_a_place_may_say_what_the_bundle_does_not_and_otherwise() -> None:
    here = Guards(
        channels={"a": ChannelGuard(maximum=4.0), "b": ChannelGuard(stuck_after_s=1.0, minimum=0.0)},
        minimum_coverage=0.5,
    )
    guard = InputGuard(manifest(), here)

    assert guard.refuse(cut([0, 1, 0, 1], coverage=0.6)) == ""
    assert guard.refuse(cut([0, 3, 4.5, 3])) == "above_range"
    assert guard.refuse(cut([-11, -10, -9, -8])) == "below_range", "what the place does not say is the bundle's"
    assert guard.refuse(cut([0, 1, 0, 1], at=-8)) == "below_range"


@pytest.mark.parametrize(
    ("guards", "words"),
    [
        (Guards(channels={"aa": ChannelGuard()}), "Did you mean 'a'"),
        (Guards(channels={"a": ChannelGuard(minimum=11.0)}), "not below maximum"),
    ],
)
def test_guards_that_do_not_fit_the_bundle_are_an_error(guards: Guards, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        InputGuard(manifest(), guards)


@pytest.mark.parametrize(
    ("guards", "words"),
    [(Guards(labels=("hihg",)), "Did you mean 'high'"), (Guards(value_range=(2.0, 1.0)), "lower end first")],
)
def test_an_output_guard_that_lets_nothing_pass_is_an_error(guards: Guards, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        OutputGuard(manifest(), guards)


def test_an_estimate_outside_its_range_is_refused_the_place_before_the_bundle() -> None:
    bundle = manifest(task="regression", labels=(), value_range=(0.0, 100.0))

    assert [OutputGuard(bundle).refuse_value(value) for value in (-0.1, 0.0, 100.0, 100.1)] == [
        "output_range", "", "", "output_range",
    ]  # fmt: skip
    assert OutputGuard(bundle, Guards(value_range=(0.0, 50.0))).refuse_value(60.0) == "output_range"


def test_a_label_that_is_not_allowed_here_is_refused() -> None:
    guard = OutputGuard(manifest(), Guards(labels=("low",)))

    assert guard.refuse_label(np.array([0.6, 0.4])) == ""
    assert guard.refuse_label(np.array([0.4, 0.6])) == "output_label"
    assert OutputGuard(manifest()).refuse_label(np.array([0.4, 0.6])) == ""


def test_many_classes_of_an_8_bit_softmax_may_miss_one_by_their_rounding() -> None:
    def variant(n: int, scale: float, precision: str = "int8") -> Variant:
        spec = TensorSpec(name="p", shape=(1, n), dtype="int8" if scale else "float32", scale=scale)
        return Variant(file="m", format="tflite", precision=precision, inputs=(), outputs=(spec,))

    assert sum_tolerance(variant(7, 1 / 256)) == 0.05
    assert sum_tolerance(variant(1001, 1 / 256)) == pytest.approx(1.955, abs=1e-3)
    assert sum_tolerance(variant(1001, 0.0)) == pytest.approx(1.955, abs=1e-3)
    assert sum_tolerance(variant(1001, 0.0, "float32")) == 0.05
    rounded = np.round(np.full(200, 0.005) * 256) / 256
    assert refuse_probabilities(rounded, 0.5)[0] == ""
    assert refuse_probabilities(rounded)[0] == "output_no_distribution"
    assert refuse_probabilities(np.zeros(1001), 2.0)[0] == "output_no_distribution", "there is nothing to believe"
