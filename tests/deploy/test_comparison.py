"""Two machines' answers: what counts as the same, and what does not."""

from __future__ import annotations

import numpy as np
import pytest

from deploy.arm64.comparison import TOLERANCE, differences, is_all_near

SURE = np.array([[0.9, 0.1], [0.2, 0.8]])
UNDECIDED = np.array([[0.5 + TOLERANCE / 4, 0.5 - TOLERANCE / 4]])


def test_the_same_answers_are_near() -> None:
    [found] = differences({"gate.litert": SURE}, {"gate.litert": SURE})

    assert (found.bundle, found.runtime, found.windows) == ("gate", "litert", 2)
    assert found.is_near


def test_one_answer_that_is_far_off_is_enough() -> None:
    there = SURE.copy()
    there[1] = [0.2 + 2 * TOLERANCE, 0.8 - 2 * TOLERANCE]

    found = differences({"gate.litert": SURE, "yard.litert": SURE}, {"gate.litert": SURE, "yard.litert": there})

    assert [one.is_near for one in found] == [True, False]
    assert not is_all_near(found)


def test_another_label_is_forgiven_only_where_both_are_about_as_likely() -> None:
    [close] = differences({"gate.litert": UNDECIDED}, {"gate.litert": UNDECIDED[:, ::-1]})
    [far] = differences({"gate.litert": SURE}, {"gate.litert": SURE[:, ::-1]})

    assert (close.other_labels, close.is_near) == (1, True)
    assert (far.other_labels, far.is_near) == (2, False)


def test_answers_that_are_not_numbers_are_not_near() -> None:
    [found] = differences({"gate.litert": SURE}, {"gate.litert": np.full_like(SURE, np.nan)})

    assert not found.is_near


def test_nothing_compared_proves_nothing() -> None:
    assert not is_all_near([])


@pytest.mark.parametrize("there", [{}, {"yard.litert": SURE}, {"gate.litert": SURE[:1]}])
def test_answers_of_other_models_or_windows_are_refused(there: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="gate"):
        differences({"gate.litert": SURE}, there)
