from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from converters.dataset import Dataset, subset
from converters.recipe import Recipe
from edge_sdk.base.errors import CalibrationError
from edge_sdk.contract.manifest import Channel, Step

IMAGE = Recipe(channels=(Channel(name="grey", minimum=0, maximum=255),))


def test_preprocessing_is_the_stations_own() -> None:
    recipe = Recipe(preprocess=(Step(kind="standardize", options={"mean": [1.0, 2.0], "std": [2.0, 4.0]}),))
    x = np.array([[[3.0, 6.0], [1.0, 2.0]]], np.float32)

    np.testing.assert_allclose(Dataset.of(x, name="calibration").inputs(recipe), [[[1.0, 1.0], [0.0, 0.0]]])


def test_data_outside_a_channels_range_is_refused_with_both_ranges() -> None:
    data = Dataset.of(np.linspace(-5, 300, 64, dtype=np.float32).reshape(2, 32, 1), name="calibration")

    with pytest.raises(CalibrationError, match=r"from -5 to 300; the recipe says 0 to 255"):
        data.windows(IMAGE)


def test_data_that_was_divided_by_255_already_is_refused() -> None:
    data = Dataset.of(np.linspace(0, 1, 64, dtype=np.float32).reshape(2, 32, 1), name="calibration")

    with pytest.raises(CalibrationError, match="looks scaled already"):
        data.windows(IMAGE)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.zeros((0, 4, 2)), "empty"),
        (np.full((3, 4, 2), np.nan), "3 of 3 windows with NaN"),
        (np.array([["a", "b"]]), "dtype"),
        (np.array([1.0, 2.0]), "empty"),
    ],
)
def test_data_that_is_none_is_refused(x: np.ndarray, words: str) -> None:
    with pytest.raises(CalibrationError, match=words):
        Dataset.of(x, name="calibration")


def test_truth_of_another_length_is_refused() -> None:
    with pytest.raises(CalibrationError, match="one number per window"):
        Dataset.of((np.ones((3, 4)), np.ones(2)), name="evaluation")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not really", b"x = 1"])
def test_a_file_that_is_no_data_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(content)

    with pytest.raises(CalibrationError, match=r"data\.npz"):
        Dataset.of(path, name="calibration")


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, x=np.array([{"a": 1}], dtype=object))

    with pytest.raises(CalibrationError, match="plain numbers"):
        Dataset.of(path, name="calibration")


def test_windows_of_another_length_than_the_recipes_are_refused() -> None:
    recipe = Recipe(channels=(Channel(name="a"), Channel(name="b")))

    with pytest.raises(CalibrationError, match=r"windows of shape \(4, 3\)"):
        Dataset.of(np.ones((2, 4, 3)), name="calibration").windows(recipe)


def test_a_subset_is_spread_over_all() -> None:
    chosen = subset(np.arange(1000, dtype=np.float32)[:, None], 5)

    assert chosen[:, 0].tolist() == [0, 250, 500, 749, 999]


@pytest.mark.parametrize(
    ("shape", "recipe", "windows"),
    [
        ((5, 4, 2), Recipe(), (5, 4, 2)),
        ((5, 8), Recipe(), (5, 1, 8)),
        ((5, 8), Recipe(channels=(Channel(name="a"), Channel(name="b"))), (5, 4, 2)),
        ((5, 6, 6, 1), Recipe(channels=(Channel(name="grey"),)), (5, 36, 1)),
        ((5, 6, 6), Recipe(channels=(Channel(name="grey"),)), (5, 36, 1)),
        ((5, 6, 6, 3), Recipe(), (5, 36, 3)),
    ],
)
def test_the_shape_of_windows_follows_from_data_and_recipe(
    shape: tuple[int, ...], recipe: Recipe, windows: tuple[int, ...]
) -> None:
    assert Dataset.of(np.ones(shape), name="calibration").windows(recipe).shape == windows
