"""A dataset: windows in physical units and, where known, what they are; for calibration and evaluation."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from converters.datafile import read_arrays
from converters.recipe import Recipe
from edge_sdk.base.errors import BundleFormatError, CalibrationError
from edge_sdk.inference.preprocess import Preprocess

Given: TypeAlias = "Dataset | Path | str | NDArray[Any] | tuple[NDArray[Any], NDArray[Any] | None]"


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Windows and their truth.

    Attributes:
        name: Where it came from, for messages.
        x: float32 ``(n, …)``, in physical units, before preprocessing.
        y: ``(n,)`` class numbers (int64) or values (float32); None = not known.
    """

    name: str
    x: NDArray[np.float32]
    y: NDArray[Any] | None

    @classmethod
    def of(cls, given: Given, *, name: str) -> Dataset:
        """Take a dataset as users give it: a path that `read_arrays` knows, an array, or ``(x, y)``.

        Raises:
            CalibrationError: Not readable, empty, not numbers, not finite, or `x` and `y` of different lengths.
        """
        if isinstance(given, Dataset):
            return given
        if isinstance(given, Path | str):
            x, y = read_arrays(given)
            name = f"{name} data {given}"
        elif isinstance(given, tuple):
            x, y = given
            name = f"{name} data"
        else:
            x, y, name = given, None, f"{name} data"
        x = np.asarray(x)
        if x.size == 0 or x.ndim < 2:
            raise CalibrationError(f"The {name} is empty: x has shape {x.shape}, wanted is (n, …) with n ≥ 1.")
        if x.dtype.kind not in "fiu":
            raise CalibrationError(f"The {name} has x of dtype {x.dtype}; wanted are numbers.")
        x = np.ascontiguousarray(x, dtype=np.float32)
        if not np.isfinite(x).all():
            bad = int((~np.isfinite(x)).any(axis=tuple(range(1, x.ndim))).sum())
            raise CalibrationError(f"The {name} has {bad} of {len(x)} windows with NaN or infinity. Leave them out.")
        if y is not None:
            y = np.asarray(y).reshape(len(y), -1)
            if len(y) != len(x) or y.shape[1] != 1 or y.dtype.kind not in "fiub":
                raise CalibrationError(
                    f"The {name} has x of shape {x.shape} and y of {y.shape} {y.dtype}; "
                    "wanted is one number per window."
                )
            y = y[:, 0]
        return cls(name, x, y)

    @property
    def fingerprint(self) -> str:
        """``sha256:…`` of the values: which data it was, in the bundle's provenance."""
        digest = hashlib.sha256(repr(self.x.shape).encode() + self.x.tobytes())
        if self.y is not None:
            digest.update(np.asarray(self.y, dtype=np.float64).tobytes())
        return "sha256:" + digest.hexdigest()

    def windows(self, recipe: Recipe) -> NDArray[np.float32]:
        """Windows ``(n, length, n_channels)``, still in physical units.

        Raises:
            CalibrationError: The shape is not the recipe's, or values lie outside a channel's range.
        """
        inner = self.x.shape[1:]
        length = recipe.windowing.length if recipe.windowing else None
        n_channels = len(recipe.channels) or None
        size = int(np.prod(inner))
        as_given = (int(np.prod(inner[:-1])), inner[-1])  # a vector is one sample of many channels
        if length in {None, as_given[0]} and n_channels in {None, as_given[1]}:
            shape = as_given
        elif (
            len(inner) == 1 or n_channels == 1
        ):  # flattened windows, or pixels without a dimension for their one colour
            known = n_channels or (max(1, size // length) if length else size)
            shape = (length or size // known, known)
        else:
            shape = (0, 0)
        if shape[0] * shape[1] != size:
            wanted = f"{length or 'any number of'} samples of {n_channels or 'any number of'} channels"
            raise CalibrationError(
                f"The {self.name} has windows of shape {inner}; the recipe says {wanted}. "
                "Give x as (n, samples, channels), in physical units."
            )
        windows = self.x.reshape(len(self.x), *shape)
        _check_range(self.name, windows, recipe)
        return windows

    def inputs(self, recipe: Recipe) -> NDArray[np.float32]:
        """Windows after the recipe's preprocessing: the same code that the station runs.

        Raises:
            CalibrationError: As `windows`; or a step cannot take such windows.
            BundleFormatError: A step's options are wrong.
        """
        steps, windows = Preprocess.of(recipe.preprocess), self.windows(recipe)
        try:
            prepared = steps.apply(windows)
        except (BundleFormatError, ValueError) as error:
            raise CalibrationError(
                f"The {self.name} has windows of {windows.shape[1]} samples of {windows.shape[2]} channels, which "
                f"preprocessing cannot take: {error} Mend preprocess in the recipe, or the data."
            ) from error
        return np.ascontiguousarray(prepared, dtype=np.float32)

    def classes(self, n_labels: int) -> NDArray[np.int64]:
        """`y` as class numbers.

        Raises:
            CalibrationError: A label is no class number, or out of range.
        """
        if self.y is None:
            raise CalibrationError(f"The {self.name} has no y. Add the class number of each window as `y`.")
        classes = np.asarray(self.y).astype(np.int64)
        if not np.array_equal(classes, self.y) or classes.min() < 0 or classes.max() >= n_labels:
            raise CalibrationError(
                f"The {self.name} has labels from {self.y.min()} to {self.y.max()}; the model knows 0 to "
                f"{n_labels - 1}. y holds class numbers, in the order of the labels."
            )
        return classes


def subset(inputs: NDArray[np.float32], limit: int) -> NDArray[np.float32]:
    """At most `limit` windows, evenly spread over all: the same ones each time."""
    if len(inputs) <= limit:
        return inputs
    chosen: NDArray[np.float32] = inputs[np.linspace(0, len(inputs) - 1, limit).round().astype(int)]
    return chosen


def _check_range(name: str, windows: NDArray[np.float32], recipe: Recipe) -> None:
    """Refuse data that cannot be what the channels measure: other units, or already preprocessed."""
    if recipe.channels and len(recipe.channels) != windows.shape[2]:
        return  # the model's shape decides, and its error says more
    for index, channel in enumerate(recipe.channels):
        low, high = channel.minimum, channel.maximum
        if low is None and high is None:
            continue
        values = windows[:, :, index]
        seen_low, seen_high = float(values.min()), float(values.max())
        outside = (low is not None and seen_low < low) or (high is not None and seen_high > high)
        # Values scaled into ±1 or 0…1 lie inside any wide range: a channel of 0 to 255 that never leaves 0…1 was /255.
        shrunk = (
            low is not None
            and high is not None
            and high - low > 50
            and seen_high - seen_low < (high - low) / 50
            and max(-seen_low, seen_high) <= 1.0 < max(-low, high)
        )
        if outside or shrunk:
            raise CalibrationError(
                f"The {name} has channel {channel.name!r} from {seen_low:.6g} to {seen_high:.6g}; the recipe says "
                f"{'-∞' if low is None else f'{low:g}'} to {'∞' if high is None else f'{high:g}'} {channel.unit}. "
                f"Give x in physical units, before preprocessing{' (it looks scaled already)' if shrunk else ''}."
            )
