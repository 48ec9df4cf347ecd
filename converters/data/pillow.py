"""Reads windows from a folder of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from edge_sdk.base.errors import CalibrationError


def read_images(files: list[Path]) -> NDArray[Any]:
    """Read images of one size: ``(n, height, width, 1 or 3)``, values 0 to 255 as the camera gives them.

    Args:
        files: In the order wanted. All grey ones give one channel; where one has colours, all have three.

    Raises:
        CalibrationError: One is no image, or they differ in size.
    """
    opened: list[NDArray[Any]] = []
    sizes: dict[tuple[int, int], Path] = {}
    try:
        has_colours = any(_mode(file) not in {"1", "L", "I;16"} for file in files)
        for file in files:
            with Image.open(file) as image:
                sizes.setdefault(image.size, file)
                opened.append(np.asarray(image.convert("RGB" if has_colours else "L"), dtype=np.uint8))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise CalibrationError(f"An image cannot be read: {error}.") from error
    if len(sizes) > 1:
        shown = ", ".join(f"{width} x {height} ({file.name})" for (width, height), file in list(sizes.items())[:4])
        raise CalibrationError(
            f"{files[0].parent} mixes images of {shown}; wanted is one size, the model's. Resize them."
        )
    stacked = np.stack(opened)
    return stacked if has_colours else stacked[..., None]


def _mode(file: Path) -> str:
    with Image.open(file) as image:
        return image.mode
