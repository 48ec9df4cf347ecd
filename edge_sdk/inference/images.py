"""Steps for images, whose pixels are the samples of a window: another size, other colours."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from edge_sdk.base.errors import BundleFormatError

_LUMA = (0.299, 0.587, 0.114)  # of red, green, blue: ITU-R BT.601, as OpenCV and Pillow use
_Colours = Literal["bgr", "grey", "rgb"]


class Colour:
    """Other colours: red, green and blue in the other order, or made grey, or grey made three."""

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"given": "from"}):
        """From which colours to which; a camera gives ``rgb`` or ``grey``."""

        given: Annotated[_Colours, Meta(description="What the window has.")]
        to: Annotated[_Colours, Meta(description="What the model wants.")]

    def __init__(self, options: Options) -> None:
        if options.given == options.to:
            raise BundleFormatError(f"colour goes from {options.given} to {options.to}: nothing to do. Leave it out.")
        self.n_given = 1 if options.given == "grey" else 3
        to_rgb = np.ones((1, 3)) if options.given == "grey" else np.eye(3)
        if options.given == "bgr":
            to_rgb = to_rgb[::-1]
        from_rgb = np.array(_LUMA)[:, None] if options.to == "grey" else np.eye(3)
        if options.to == "bgr":
            from_rgb = from_rgb[:, ::-1]
        self._mix = np.ascontiguousarray(to_rgb @ from_rgb, np.float32)

    def apply(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Transform ``(…, n_pixels, 1 or 3)`` into ``(…, n_pixels, 3 or 1)``."""
        if samples.shape[-1] != self.n_given:
            raise BundleFormatError(f"colour wants {self.n_given} channels, there are {samples.shape[-1]}.")
        return np.asarray(samples @ self._mix, np.float32)


class Resize:
    """Another size: rows and columns are weighted means of what lies under them."""

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Size of the image that is given, and of the one that is wanted; how pixels are mixed.

        ``bilinear`` mixes the nearest two (OpenCV, `tf.image.resize`, PyTorch's `interpolate`); ``antialias`` all that
        a pixel of the smaller image covers (Pillow, torchvision); ``nearest`` takes one. Pixels are areas: their
        centres lie at halves.
        """

        from_height: Annotated[int, Meta(ge=1, le=4096, description="Of the image that is given, pixels.")]
        from_width: Annotated[int, Meta(ge=1, le=4096, description="Of the image that is given, pixels.")]
        height: Annotated[int, Meta(ge=1, le=4096, description="Of the image that the model wants, pixels.")]
        width: Annotated[int, Meta(ge=1, le=4096, description="Of the image that the model wants, pixels.")]
        method: Annotated[
            Literal["antialias", "bilinear", "nearest"], Meta(description="As Pillow, as OpenCV, or one pixel.")
        ] = "bilinear"

    def __init__(self, options: Options) -> None:
        self._given = (options.from_height, options.from_width)
        self._rows = _weights(options.from_height, options.height, options.method)
        self._columns = _weights(options.from_width, options.width, options.method)

    def apply(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Transform ``(…, from_height · from_width, n_channels)`` into ``(…, height · width, n_channels)``."""
        *batch, n_pixels, n_channels = samples.shape
        height, width = self._given
        if n_pixels != height * width:
            raise BundleFormatError(
                f"resize wants images of {height} x {width} = {height * width} pixels, channels last; there are "
                f"{n_pixels}. Let it stand before `layout`, and give from_height and from_width as the camera does."
            )
        rows = self._rows @ samples.reshape(*batch, height, width * n_channels)
        pixels = self._columns @ rows.reshape(*batch, len(self._rows), width, n_channels)
        return np.ascontiguousarray(pixels.reshape(*batch, -1, n_channels), np.float32)


def _weights(n_given: int, n_wanted: int, method: str) -> NDArray[np.float32]:
    """How much each given row counts in each wanted one, ``(n_wanted, n_given)``; a wanted one's sum to 1."""
    step = n_given / n_wanted
    centres = (np.arange(n_wanted) + 0.5) * step
    if method == "nearest":
        nearest = np.minimum(centres.astype(int), n_given - 1)
        return np.asarray(np.eye(n_given)[nearest], np.float32)
    reach = max(step, 1.0) if method == "antialias" else 1.0
    distance = np.abs(np.arange(n_given)[None, :] + 0.5 - centres[:, None])
    weights = np.maximum(0.0, 1.0 - distance / reach)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)
