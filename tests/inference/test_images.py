from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from edge_sdk.base.errors import BundleFormatError
from edge_sdk.contract.manifest import Step
from edge_sdk.inference.preprocess import Preprocess

HEIGHT, WIDTH = 24, 32
IMAGE = np.random.default_rng(0).uniform(0, 255, (HEIGHT, WIDTH, 3)).astype(np.float32)
PIXELS = IMAGE.reshape(-1, 3)


def _resized(method: str, height: int, width: int, pixels: NDArray[np.float32] = PIXELS) -> NDArray[np.float32]:
    options = {"from_height": HEIGHT, "from_width": WIDTH, "height": height, "width": width, "method": method}
    made = Preprocess.of([Step(kind="resize", options=options)]).apply(pixels)
    return made.reshape(*pixels.shape[:-2], height, width, -1)


def _coloured(given: str, to: str, pixels: NDArray[np.float32] = PIXELS) -> NDArray[np.float32]:
    return Preprocess.of([Step(kind="colour", options={"from": given, "to": to})]).apply(pixels)


@pytest.mark.parametrize(("height", "width"), [(12, 16), (10, 13), (48, 50), (7, 5)])
def test_bilinear_is_opencvs(height: int, width: int) -> None:
    wanted: Any = cv2.resize(IMAGE, (width, height), interpolation=cv2.INTER_LINEAR)

    np.testing.assert_allclose(_resized("bilinear", height, width), wanted, atol=0.01)


@pytest.mark.parametrize(("height", "width"), [(12, 16), (10, 13), (48, 50), (7, 5)])
def test_antialias_is_pillows(height: int, width: int) -> None:
    found = _resized("antialias", height, width)

    for channel in range(3):
        image = Image.fromarray(IMAGE[..., channel]).resize((width, height), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(found[..., channel], np.asarray(image), atol=0.01)


def test_nearest_takes_the_pixel_under_the_centre() -> None:
    np.testing.assert_array_equal(_resized("nearest", 12, 16), IMAGE[1::2, 1::2])


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(["antialias", "bilinear", "nearest"]))
def test_an_even_image_stays_even_in_any_size(height: int, width: int, method: str) -> None:
    even = np.full((2, HEIGHT * WIDTH, 1), 7.0, np.float32)

    np.testing.assert_allclose(_resized(method, height, width, even), 7.0, rtol=1e-5)


def test_an_image_of_another_size_is_refused() -> None:
    with pytest.raises(BundleFormatError, match="24 x 32 = 768 pixels"):
        _resized("nearest", 12, 16, PIXELS[:-1])


def test_grey_is_opencvs() -> None:
    wanted: Any = cv2.cvtColor(IMAGE, cv2.COLOR_RGB2GRAY)

    np.testing.assert_allclose(_coloured("rgb", "grey").reshape(HEIGHT, WIDTH), wanted, atol=0.01)
    np.testing.assert_allclose(_coloured("bgr", "grey", PIXELS[:, ::-1]), _coloured("rgb", "grey"), atol=1e-4)


def test_colours_change_places() -> None:
    np.testing.assert_array_equal(_coloured("rgb", "bgr"), PIXELS[:, ::-1])
    np.testing.assert_array_equal(_coloured("bgr", "rgb"), PIXELS[:, ::-1])
    np.testing.assert_array_equal(_coloured("grey", "rgb", PIXELS[:, :1]), np.repeat(PIXELS[:, :1], 3, axis=1))


def test_colours_that_are_not_there_are_refused() -> None:
    with pytest.raises(BundleFormatError, match="wants 1 channels, there are 3"):
        _coloured("grey", "rgb")
    with pytest.raises(BundleFormatError, match="nothing to do"):
        _coloured("rgb", "rgb")
