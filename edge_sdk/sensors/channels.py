"""Channels: which of a sensor's are handed on, in which order, under which name and unit, corrected. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np
from msgspec import Meta

from edge_sdk.base.errors import ConfigError, nearest
from edge_sdk.contract.reading import Reading
from edge_sdk.sensors.base import Strict


class ChannelConfig(Strict, frozen=True, kw_only=True):
    """One channel as it is handed on: ``scale · measured + offset``."""

    source: Annotated[str | None, Meta(description="Channel of the plug-in; default: the one of this name.")] = None
    scale: Annotated[float, Meta(description="Factor, before the offset.")] = 1.0
    offset: Annotated[float, Meta(description="Added after the factor, in this channel's unit.")] = 0.0
    unit: Annotated[str | None, Meta(description="Unit after scale and offset; default: the plug-in's.")] = None


class Channels:
    """Picks, orders, names and corrects a sensor's channels; without settings all pass as they are.

    Args:
        settings: By name of the channel as handed on, in order; empty = all channels as they are.
        channels: The sensor's channels.
        units: Their units, in order; empty = not known.
        sensor: The sensor's name, for errors.

    Attributes:
        channels: Names of the channels handed on.
        units: Their units; empty where not known.

    Raises:
        ConfigError: A channel is named that the sensor has not; the message offers the nearest.
    """

    def __init__(
        self, settings: Mapping[str, ChannelConfig], *, channels: Sequence[str], units: Sequence[str] = (), sensor: str
    ) -> None:
        given = dict(zip(channels, units or [""] * len(channels), strict=True))
        self._n_given = len(channels)
        if not settings:
            self.channels, self.units = tuple(channels), tuple(given.values())
            self._columns: list[int] | None = None
            return
        sources = {name: setting.source or name for name, setting in settings.items()}
        for name, source in sources.items():
            if source not in given:
                raise ConfigError(
                    f"Sensor {sensor!r}: channel {name!r} is made of {source!r}, which it does not have. "
                    f"{nearest(source, given)} Write `source:` where the names differ."
                )
        order = list(channels)
        self._columns = [order.index(source) for source in sources.values()]
        self._scale = np.array([setting.scale for setting in settings.values()], np.float32)
        self._offset = np.array([setting.offset for setting in settings.values()], np.float32)
        self._is_identity = bool((self._scale == 1).all() and (self._offset == 0).all())
        self.channels = tuple(settings)
        self.units = tuple(
            given[sources[name]] if setting.unit is None else setting.unit for name, setting in settings.items()
        )

    def fits(self, reading: Reading) -> bool:
        """Whether a reading has the channels that the sensor said it would have."""
        return bool(reading.samples.shape[1] == self._n_given)

    def apply(self, reading: Reading) -> Reading:
        """The reading as it is handed on; the very same where nothing is to be done."""
        if self._columns is None:
            return reading
        samples = reading.samples[:, self._columns]
        if not self._is_identity:
            samples = samples * self._scale + self._offset
        return replace(reading, samples=samples)
