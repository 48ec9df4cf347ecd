"""Layout: how the numbers of a window lie in a model's input, and the step that turns them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from edge_sdk.base.errors import BundleFormatError, TensorMismatchError

if TYPE_CHECKING:
    from edge_sdk.inference.preprocess import Preprocess


class Layout:
    """Channels before samples or behind them: NHWC becomes NCHW, a series ``(samples, channels)`` the other way round.

    A window has its channels last; models of PyTorch want them first. The same turn again undoes it.
    """

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """What comes first in the answer."""

        order: Annotated[Literal["channels_first", "channels_last"], Meta(description="How they are to lie.")]

    def __init__(self, options: Options) -> None:
        self.order = options.order

    def apply(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn ``(…, n_samples, n_channels)`` into ``(…, n_channels, n_samples)``, or back."""
        return np.ascontiguousarray(np.swapaxes(samples, -1, -2))


def shape_after(preprocess: Preprocess, window_shape: tuple[int, int]) -> tuple[int, int]:
    """What becomes of the shape of a window ``(length, n_channels)``.

    Raises:
        BundleFormatError: The steps do not work on windows of that shape, or turn what is turned already.
    """
    turned = False
    for transform in preprocess.transforms:
        if isinstance(transform, Layout):
            if turned == (transform.order == "channels_first"):
                raise BundleFormatError(
                    f"layout wants {transform.order.replace('_', ' ')}, and that is how they lie there already: a "
                    "window has its channels last. Leave the step out, or say the other order."
                )
            turned = not turned
    try:
        after = preprocess.apply(np.zeros(window_shape, np.float32)).shape
    except ValueError as error:  # numpy's: a step by channel that has another number of them
        raise BundleFormatError(
            f"Preprocessing does not work on windows of {window_shape[0]} samples of {window_shape[1]} channels: "
            f"{error}"
        ) from error
    if len(after) != 2:
        raise BundleFormatError(f"Preprocessing makes {after} of a window {window_shape}; wanted are two dimensions.")
    return after[0], after[1]


def fits(input_shape: tuple[int, ...], prepared: tuple[int, int]) -> bool:
    """Whether a prepared window may be reshaped into a model's input.

    It may gain dimensions of 1, be flattened, or be an image whose pixels lie in a row, with its channels last or
    first; it is never transposed.

    Args:
        input_shape: The model's input, the batch of 1 included.
        prepared: Shape of a window after preprocessing.
    """
    squeezed = tuple(n for n in input_shape if n != 1)
    allowed = (tuple(n for n in prepared if n != 1), tuple(n for n in (int(np.prod(prepared)),) if n != 1))
    if squeezed in allowed:
        return True
    if len(input_shape) != 4:
        return False
    _, a, b, c = input_shape
    return prepared in {(a * b, c), (a, b * c)}


def check_fit(input_shape: tuple[int, ...], preprocess: Preprocess, window_shape: tuple[int, int]) -> None:
    """Refuse windows that are not what the model takes.

    Raises:
        TensorMismatchError: Preprocessed, they do not fit its input.
        BundleFormatError: As `shape_after`.
    """
    prepared = shape_after(preprocess, window_shape)
    if not fits(input_shape, prepared):
        became = "" if prepared == window_shape else f", preprocessed {prepared}"
        raise TensorMismatchError(
            "window",
            want=f"one that fits the model's input {input_shape}",
            got=f"(length, channels) = {window_shape}{became}",
        )
