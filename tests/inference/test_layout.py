from __future__ import annotations

import numpy as np
import pytest

from edge_sdk.base.errors import BundleFormatError, TensorMismatchError
from edge_sdk.contract.manifest import Step
from edge_sdk.inference.layout import check_fit, fits, shape_after
from edge_sdk.inference.preprocess import Preprocess

FIRST = Step(kind="layout", options={"order": "channels_first"})
LAST = Step(kind="layout", options={"order": "channels_last"})


def test_channels_first_is_what_models_of_pytorch_want() -> None:
    images = np.arange(2 * 4 * 5 * 3, dtype=np.float32).reshape(2, 4, 5, 3)

    turned = Preprocess.of([FIRST]).apply(images.reshape(2, 20, 3))

    np.testing.assert_array_equal(turned.reshape(2, 3, 4, 5), images.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(Preprocess.of([FIRST, LAST]).apply(images.reshape(2, 20, 3)).ravel(), images.ravel())


@pytest.mark.parametrize("steps", [[LAST], [FIRST, FIRST], [FIRST, LAST, LAST]])
def test_turning_what_is_turned_already_is_refused(steps: list[Step]) -> None:
    with pytest.raises(BundleFormatError, match="lie there already"):
        shape_after(Preprocess.of(steps), (20, 3))


def test_steps_of_another_number_of_channels_are_refused_when_a_model_is_opened() -> None:
    steps = Preprocess.of([Step(kind="standardize", options={"mean": [0, 0], "std": [1, 1]})])

    with pytest.raises(BundleFormatError, match="20 samples of 3 channels"):
        shape_after(steps, (20, 3))


@pytest.mark.parametrize(
    ("model", "prepared", "does"),
    [
        ((1, 50, 3), (50, 3), True),
        ((1, 150), (50, 3), True),
        ((1, 1, 50, 3), (50, 3), True),
        ((1, 3, 50), (50, 3), False),
        ((1, 3, 50), (3, 50), True),
        ((1, 4, 5, 3), (20, 3), True),
        ((1, 3, 4, 5), (3, 20), True),
        ((1, 3, 4, 5), (20, 3), False),
    ],
)
def test_a_window_is_reshaped_and_never_turned_unasked(
    model: tuple[int, ...], prepared: tuple[int, int], does: bool
) -> None:
    assert fits(model, prepared) is does


def test_a_window_that_does_not_fit_is_told_with_what_became_of_it() -> None:
    with pytest.raises(TensorMismatchError, match=r"\(20, 3\), preprocessed \(3, 20\)"):
        check_fit((1, 4, 5, 3), Preprocess.of([FIRST]), (20, 3))
