"""Preprocessing: from a window in physical units to the model's input; sealed into the bundle, the same everywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sdk.base import plugins
from edge_sdk.base.errors import BundleFormatError
from edge_sdk.contract.manifest import Step
from edge_sdk.contract.tensor import TensorSpec
from edge_sdk.inference.quantizer import Quantizer

GROUP = "edge_sdk.preprocess"


class Transform(Protocol):
    """One step: a plug-in of ``edge_sdk.preprocess`` is a class with ``Options`` and ``__init__(self, options)``."""

    def apply(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Transform ``(…, n_samples, n_channels)``; leading dimensions are a batch."""


class Affine:
    """``samples · gain + offset``, by channel; what neighbouring affine steps become together."""

    def __init__(self, gain: NDArray[np.float32], offset: NDArray[np.float32]) -> None:
        self.gain, self.offset = gain, offset
        self._wide_gain, self._wide_offset = gain, offset  # as large as a window: numpy is slow over few channels

    def apply(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Transform ``(…, n_samples, n_channels)``."""
        if self._wide_gain.shape != samples.shape[-2:]:
            self._wide_gain = np.broadcast_to(self.gain, samples.shape[-2:]).copy()
            self._wide_offset = np.broadcast_to(self.offset, samples.shape[-2:]).copy()
        moved = samples * self._wide_gain
        moved += self._wide_offset
        return moved

    def then(self, after: Affine) -> Affine:
        """Both in one."""
        return Affine(self.gain * after.gain, self.offset * after.gain + after.offset)


class Standardize(Affine):
    """Subtract the mean and divide by the standard deviation, by channel."""

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Mean and standard deviation of each channel, in the sensor's unit."""

        mean: tuple[float, ...]
        std: tuple[float, ...]

    def __init__(self, options: Options) -> None:
        if len(options.mean) != len(options.std) or not all(std > 0 for std in options.std):
            raise BundleFormatError(f"standardize wants as many means as positive stds; given is {options}.")
        gain = 1.0 / np.asarray(options.std, dtype=np.float64)
        offset = -np.asarray(options.mean, dtype=np.float64) * gain
        super().__init__(gain.astype(np.float32), offset.astype(np.float32))


class Scale(Affine):
    """``samples · factor + offset``, all channels alike: ``factor: 0.00392157`` is "divide by 255"."""

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Factor and offset, applied in that order."""

        factor: float = 1.0
        offset: float = 0.0

    def __init__(self, options: Options) -> None:
        super().__init__(np.asarray([options.factor], np.float32), np.asarray([options.offset], np.float32))


class Clip:
    """Cut off what lies outside ``[minimum, maximum]``: a knock must not stretch a quantized input's range."""

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """The two ends, in what the step before gives."""

        minimum: float
        maximum: float

    def __init__(self, options: Options) -> None:
        if not options.minimum < options.maximum:
            raise BundleFormatError(f"clip wants minimum below maximum; given is {options}.")
        self.minimum, self.maximum = np.float32(options.minimum), np.float32(options.maximum)

    def apply(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Transform ``(…, n_samples, n_channels)``."""
        cut = np.maximum(samples, self.minimum)
        return np.minimum(cut, self.maximum, out=cut)


class Preprocess:
    """All steps of a bundle, in order.

    Attributes:
        transforms: The steps; neighbouring affine ones have become one.
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        merged: list[Transform] = []
        for transform in transforms:
            if merged and isinstance(transform, Affine) and isinstance(merged[-1], Affine):
                merged[-1] = merged[-1].then(transform)
            else:
                merged.append(transform)
        self.transforms = tuple(merged)

    @classmethod
    def of(cls, steps: Sequence[Step]) -> Preprocess:
        """Build the steps that a manifest names.

        Raises:
            PluginError: A step is not installed here.
            BundleFormatError: A step's options are wrong.
        """
        return cls([_transform(step) for step in steps])

    def apply(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Transform a window ``(n_samples, n_channels)`` or a batch ``(n, n_samples, n_channels)``; float32."""
        for transform in self.transforms:
            samples = transform.apply(samples)
        return samples

    def into(self, spec: TensorSpec) -> Callable[[NDArray[np.float32]], NDArray[np.generic]]:
        """The steps and `spec.quantize` after them, as one: from a window to what the tensor holds.

        Cutting off as the last step is left to a quantized tensor's saturation, which has the same to do.
        """
        last = self.transforms[-1] if self.transforms else None
        if isinstance(last, Clip) and spec.is_quantized:
            apply = Preprocess(self.transforms[:-1]).apply
            tensor = Quantizer(spec, minimum=float(last.minimum), maximum=float(last.maximum))
        else:
            apply, tensor = self.apply, Quantizer(spec)
        return lambda samples: tensor.quantize(apply(samples))


def _transform(step: Step) -> Transform:
    kind: Any = plugins.load(GROUP, step.kind)
    try:
        options = msgspec.convert(step.options, kind.Options)
    except msgspec.ValidationError as error:
        raise BundleFormatError(f"Preprocessing step {step.kind!r} has wrong options: {error}.") from error
    transform: Transform = kind(options)
    return transform
