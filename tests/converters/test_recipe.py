from __future__ import annotations

from pathlib import Path

import pytest

from converters.recipe import Recipe, window_shape
from edge_sdk.base.errors import ConfigError, ConversionError
from edge_sdk.contract.manifest import Channel, Step, Windowing


def test_a_recipe_file_may_use_short_forms(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "name: gait\nlabels: [0, 1]\n"
        "channels: [ax, {name: ay, unit: g, range: [-8, 8]}]\n"
        "windowing: {length: 100, rate_hz: 50}\n"
        "preprocess: [{scale: {factor: 0.5}}]\n"
    )

    assert Recipe.read(path) == Recipe(
        name="gait",
        labels=("0", "1"),
        channels=(Channel(name="ax"), Channel(name="ay", unit="g", minimum=-8, maximum=8)),
        windowing=Windowing(length=100, stride=100, rate_hz=50.0),
        preprocess=(Step(kind="scale", options={"factor": 0.5}),),
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("chanels: [a]", "Did you mean 'channels'"),
        ("windowing: {lenght: 3, rate_hz: 1}", "Did you mean 'length'"),
        ("channels: [{name: a, untt: g}]", "Did you mean 'unit'"),
        ("task: clasification", "clasification"),
        ("labels: [a, a]", "not all different"),
        ("temperature: 0", "positive"),
        ("windowing: {length: 0, rate_hz: 1}", "positive"),
        ("- a list", "mapping"),
        ("a: [", "not YAML"),
    ],
)
def test_a_wrong_recipe_says_what_to_mend(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)

    with pytest.raises(ConfigError, match=words):
        Recipe.read(path)


@pytest.mark.parametrize(
    ("shape", "window"), [((1, 128, 6), (128, 6)), ((1, 640), (1, 640)), ((1, 96, 96, 3), (9216, 3)), ((1,), (1, 1))]
)
def test_a_window_follows_from_the_models_input(shape: tuple[int, ...], window: tuple[int, int]) -> None:
    assert window_shape(shape) == window


def test_channels_alone_give_the_length() -> None:
    done = Recipe(channels=(Channel(name="a"), Channel(name="b"))).completed(
        name="m", input_shape=(1, 640), n_answers=2
    )

    assert done.windowing == Windowing(length=320, stride=320, rate_hz=1.0)


def test_a_window_of_another_size_than_the_models_is_refused() -> None:
    recipe = Recipe(channels=(Channel(name="a"),), windowing=Windowing(length=7, stride=7, rate_hz=1))

    with pytest.raises(ConversionError, match="7 samples of 1 channels = 7"):
        recipe.completed(name="m", input_shape=(1, 8, 1), n_answers=2)
