"""Histograms of the data that a model was calibrated on: what a station may expect, and what it may not."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sdk.contract.manifest import Channel

BINS = 24
_MANY = 12


class Histogram(msgspec.Struct, frozen=True, kw_only=True):
    """How often which values of one channel occur.

    Attributes:
        channel: Its name.
        unit: Physical unit.
        low: Lowest value seen, the left end of the first bin.
        high: Highest value seen, the right end of the last bin.
        minimum: Lowest value that the recipe allows; None = not said.
        maximum: Highest one.
        counts: Of each bin; all are as wide.
    """

    channel: str
    unit: str = ""
    low: float
    high: float
    minimum: float | None = None
    maximum: float | None = None
    counts: tuple[int, ...]


def histograms(windows: NDArray[np.float32], channels: Sequence[Channel]) -> tuple[Histogram, ...]:
    """A histogram for each channel; of more than 12 channels one for all.

    Args:
        windows: ``(n, length, n_channels)`` in physical units.
        channels: As the recipe says them, as many.
    """
    if windows.shape[2] != len(channels) or len(channels) > _MANY:
        return (_of("all channels", windows, Channel(name="all")),)
    return tuple(_of(channel.name, windows[:, :, index], channel) for index, channel in enumerate(channels))


def _of(name: str, values: NDArray[np.float32], channel: Channel) -> Histogram:
    low, high = float(values.min()), float(values.max())
    counts, _ = np.histogram(values, bins=BINS, range=(low, high if high > low else low + 1.0))
    return Histogram(
        channel=name,
        unit=channel.unit,
        low=low,
        high=high,
        minimum=channel.minimum,
        maximum=channel.maximum,
        counts=tuple(int(n) for n in counts),
    )
